"""The methods that the paper compares with, and their joins with NCR, as models."""
