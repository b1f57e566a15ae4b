"""From a config to results: data, model, schedule, trials, comparisons."""
