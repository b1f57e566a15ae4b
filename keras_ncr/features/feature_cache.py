"""Features of a whole data set by a network that stays as it is, kept on disk."""

import functools
import hashlib
import json
import os
import pathlib
import time
import zlib

import keras
import numpy as np
import tensorflow as tf
from absl import logging

import keras_ncr
from keras_ncr.backbones.pretrained import reason_of
from keras_ncr.checks import check_integer, check_known
from keras_ncr.datasets import Source, faults_named
from keras_ncr.datasets.images import decode
from keras_ncr.datasets.source import host_tensor, rows_of
from keras_ncr.files import replacing, write_json
from keras_ncr.pipelines import central_crop

_DTYPES = ("float32", "float16")
# Rows whose checksums are compared at a time.
_CHECKED_AT_ONCE = 4096


def extract(
    backbone: keras.Model,
    source: Source,
    cache: str | os.PathLike,
    batch_size: int = 128,
    dtype: str = "float32",
    image_size: int | None = None,
    verbose="auto",
    on_estimate=None,
) -> np.memmap:
    """Returns a network's features of all examples, by index, from a file on disk.

    Each example goes through the network once. What is computed is kept in `cache`, by
    the content of the images, the network (its layers and weights), the size of the
    images, the data type and the version of the package: the same call again reads the
    file, and another network or other images get another one. A call that was
    interrupted, even by SIGKILL, goes on where it was. Every row has a checksum: a row
    that was damaged is computed anew.

    The file is mapped into memory, so a million rows need no memory of their size.

    Args:
        backbone: Keras model from a batch of images to features `(batch, dim)`, or to a
            feature map `(batch, height, width, dim)`, which is averaged; or from a
            batch of what else the source has, such as texts.
        source: `keras_ncr.datasets.Source` of n examples.
        cache: String or path of a folder, which is made if needed. Files of several
            calls share it.
        batch_size: Int, at least 1. Defaults to 128.
        dtype: `"float32"`, or `"float16"` for half the space. Defaults to `"float32"`.
        image_size: Optional int: images are brought to squares of so many pixels, by
            `keras_ncr.pipelines.central_crop`. Defaults to the size that the network
            takes; if it takes any, the images must be of one size, and keep it.
        verbose: `"auto"` or 1 for a progress bar, 0 for none.
        on_estimate: Optional callable `(num_examples, seconds)`, called after the first
            batches with how many examples are left, and how long they will take.

    Returns:
        `numpy.memmap` of shape `(n, dim)`, read only.

    Raises:
        ValueError: If the network takes other images than the source has, or returns no
            features or some that are not finite, an image cannot be read, or an
            argument is out of its range.
        NotWritten: If the folder cannot be written to.

    Example:
    >>> train, _ = keras_ncr.datasets.digits()
    >>> backbone = keras_ncr.backbones.mlp((8, 8, 1))
    >>> features = keras_ncr.features.extract(
    ...     backbone, train, cache="features", verbose=0
    ... )
    >>> features.shape, features.dtype
    ((1437, 512), dtype('float32'))
    """
    check_integer(batch_size, "batch_size", minimum=1)
    check_known(dtype, _DTYPES, "dtype")
    prepare, shape = _preparation(backbone, source, image_size)
    network = _averaged(backbone, _inputs(source, shape), source.kind)
    with faults_named(source):
        identity = {
            "images": content_hash(source),
            "network": network_hash(backbone),
            "shape": list(shape),
            "dtype": dtype,
            "version": keras_ncr.__version__,
        }
        file = _FeatureFile(cache, identity, source.num_examples, network, dtype)
        missing = file.missing()
        if len(missing):
            batches = _batches(source, missing, batch_size, prepare)
            progress = keras.utils.Progbar(
                len(missing), verbose=int(verbose != 0), unit_name="example"
            )
            timer = _Timer(len(missing), on_estimate)
            _fill(file, network, batches, batch_size, progress, timer)
    return file.read()


def content_hash(source: Source) -> str:
    """Returns a hash of a source's inputs, not decoded: 16 hexadecimal digits."""
    spec = source.dataset.element_spec["inputs"]
    num_parts = len(tf.nest.flatten(spec))
    prints = np.zeros((source.num_examples, 8 * num_parts), "uint8")

    def fingerprint(inputs, index):
        parts = [tf.fingerprint(part[None])[0] for part in tf.nest.flatten(inputs)]
        return tf.concat(parts, 0), index

    examples = _examples(source, np.arange(source.num_examples))
    batches = examples.map(fingerprint, tf.data.AUTOTUNE).batch(1024)
    for found, index in batches.as_numpy_iterator():
        prints[index] = found
    text = f"{source.image_shape} {source.is_encoded}"
    if isinstance(spec, dict):
        text += f" {sorted(spec)}"
    return hashlib.sha256(text.encode() + prints.tobytes()).hexdigest()[:16]


def network_hash(network: keras.Model) -> str:
    """Returns a hash of layers and weights, not of names: 16 hexadecimal digits."""
    names = {}
    config = keras.saving.serialize_keras_object(network)
    hashed = hashlib.sha256(json.dumps(_nameless(config, names)).encode())
    for weight in network.weights:
        value = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        hashed.update(f"{value.dtype} {value.shape}".encode())
        hashed.update(value.tobytes())
    return hashed.hexdigest()[:16]


def _nameless(config, names):
    """Returns a config with the names of layers as numbers, in order of appearance."""
    if isinstance(config, dict):
        for key in ("name", "layer"):
            if isinstance(config.get(key), str):
                names.setdefault(config[key], f"layer {len(names)}")
        left_out = ("build_config", "compile_config", "trainable")
        return {
            key: _nameless(value, names)
            for key, value in config.items()
            if key not in left_out
        }
    if isinstance(config, list | tuple):
        return [_nameless(value, names) for value in config]
    if isinstance(config, str):
        return names.get(config, config)
    return config


class _FeatureFile:
    """The features on disk, with a checksum of each row that is done."""

    def __init__(self, folder, identity, num_examples, network, dtype):
        self.folder = pathlib.Path(folder).expanduser()
        self.folder.mkdir(parents=True, exist_ok=True)
        dim = network.output_shape[-1]
        text = json.dumps(identity, sort_keys=True)
        stem = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.path = self.folder / f"{stem}.npy"
        self.checks_path = self.folder / f"{stem}.checksums.npy"
        self.dtype, self.shape = np.dtype(dtype), (num_examples, dim)
        files = (
            (self.checks_path, (num_examples,), np.dtype("uint32")),
            (self.path, self.shape, self.dtype),
        )
        # Features without checksums are worth nothing, and the other way round.
        if not all(self._is_sound(*file) for file in files):
            for file in files:
                self._create(*file)
            write_json(self.folder / f"{stem}.json", identity)
        self.checks = np.load(self.checks_path, mmap_mode="r+")

    @staticmethod
    def _is_sound(path, shape, dtype):
        """Returns whether a file is there and holds an array of this form."""
        if not path.exists():
            return False
        try:
            array = np.load(path, mmap_mode="r")
        except (ValueError, OSError, EOFError) as error:
            logging.warning("%s is damaged and made anew: %s", path, error)
            return False
        return array.shape == shape and array.dtype == dtype

    @staticmethod
    def _create(path, shape, dtype):
        """Writes a file of zeros, which takes no space where nothing is written yet."""
        with replacing(path) as temporary:
            np.lib.format.open_memmap(temporary, "w+", dtype, shape).flush()

    def missing(self):
        """Returns the indices of rows that are not there, or damaged."""
        rows, checks = np.load(self.path, mmap_mode="r"), np.asarray(self.checks)
        is_damaged = np.zeros(len(rows), bool)
        for start in range(0, len(rows), _CHECKED_AT_ONCE):
            part = slice(start, start + _CHECKED_AT_ONCE)
            done = np.flatnonzero(checks[part]) + start
            found = _checksums(np.asarray(rows[part])[done - start])
            is_damaged[done] = checks[done] != found
        if is_damaged.any():
            logging.warning(
                "%s: %d rows are damaged, and computed anew.",
                self.path,
                is_damaged.sum(),
            )
        return np.flatnonzero(is_damaged | (checks == 0))

    def write(self, index, rows):
        """Writes rows, and then their checksums."""
        if not hasattr(self, "rows"):
            self.rows = np.load(self.path, mmap_mode="r+")
        self.rows[index] = rows
        self.checks[index] = _checksums(rows)

    def read(self):
        """Returns the features, once all that was written is on the disk."""
        if hasattr(self, "rows"):
            self.rows.flush()
            self.checks.flush()
        return np.load(self.path, mmap_mode="r")


def _checksums(rows):
    """Returns a number above 0 for each row."""
    # 0 stands for a row that is not there.
    return np.array([zlib.crc32(row) or 1 for row in rows], "uint32")


class _Timer:
    """Tells after the first batches how long the rest will take."""

    def __init__(self, num_examples, tell):
        self.num_left, self.tell, self.start = num_examples, tell, None

    def add(self, num_done):
        """Counts examples; the first batch, which is compiled, is not timed."""
        self.num_left -= num_done
        if self.start is None:
            self.start, self.num_timed = time.monotonic(), 0
        elif self.tell is not None:
            self.num_timed += num_done
            seconds = time.monotonic() - self.start
            self.tell(self.num_left, self.num_left * seconds / self.num_timed)
            self.tell = None


def _fill(file, network, batches, batch_size, progress, timer):
    """Computes the features of batches, and writes them to the file."""
    for images, index in batches:
        num_rows = len(index)
        if num_rows < batch_size:  # Else it would be compiled for another shape.
            repeats = [1] * (num_rows - 1) + [batch_size - num_rows + 1]
            images = tf.nest.map_structure(
                lambda rows, repeats=repeats: tf.repeat(rows, repeats, axis=0), images
            )
        features = network.predict_on_batch(images)[:num_rows]
        with np.errstate(over="ignore"):
            features = features.astype(file.dtype)
        if not np.isfinite(features).all():
            remedy = " Take dtype='float32'." if file.dtype == "float16" else ""
            raise ValueError(
                "`backbone` must return finite features. Received: some that are not, "
                f"in {file.dtype}.{remedy}"
            )
        file.write(index.numpy(), features)
        timer.add(num_rows)
        progress.add(num_rows)


def _batches(source, indices, batch_size, prepare):
    """Returns batches of images and indices, read and decoded on all cores."""

    def prepared(image, index):
        return prepare(image), index

    return (
        _examples(source, indices)
        .map(prepared, tf.data.AUTOTUNE)
        .batch(batch_size)
        .prefetch(tf.data.AUTOTUNE)
    )


def _examples(source, indices):
    """Returns some of the images as the source has them, with their indices."""
    read = source.read_image
    if "stored_inputs" in vars(source):  # They are in memory.
        read = functools.partial(rows_of, source.stored_inputs)
    if read is not None:
        return tf.data.Dataset.from_tensor_slices(host_tensor(indices)).map(
            lambda index: (read(index), index), tf.data.AUTOTUNE
        )
    examples = source.dataset.map(lambda example: (example["inputs"], example["index"]))
    if len(indices) == source.num_examples:
        return examples
    is_wanted = np.zeros(source.num_examples, bool)
    is_wanted[indices] = True
    is_wanted = host_tensor(is_wanted)
    return examples.filter(lambda image, index: tf.gather(is_wanted, index))


def _preparation(backbone, source, image_size):
    """Returns what makes an image as the network takes it, and its shape then."""
    if source.kind != "images":
        if image_size is not None:
            raise ValueError(
                "`image_size` is for images. Received: "
                f"image_size={image_size}, and {source.kind}. Leave it out."
            )
        return lambda inputs: inputs, ()
    shape, channels = source.image_shape, source.image_shape[-1]
    if image_size is None:
        taken = getattr(backbone, "input_shape", None)
        sides = taken[1:3] if isinstance(taken, tuple) and len(taken) == 4 else ()
        if len(set(sides)) == 1 and sides[0] is not None and sides != shape[:2]:
            image_size = sides[0]
    if image_size is not None:
        prepare = central_crop(image_size, channels=channels, method="bilinear")
        return prepare, (image_size, image_size, channels)
    if None in shape:
        raise ValueError(
            f"The images of {source.name!r} differ in size, and a batch must not. "
            f"Received: image_size=None, and a network for any size. Pass "
            "`image_size`, 224 for example."
        )
    if source.is_encoded:
        return lambda image: tf.ensure_shape(decode(image, channels), shape), shape
    return lambda image: image, shape


def _inputs(source, shape):
    """Returns the inputs of a network on a source."""
    if source.kind == "images":
        return keras.Input(shape)
    spec = source.dataset.element_spec["inputs"]
    if not isinstance(spec, dict):
        return keras.Input(spec.shape, dtype=spec.dtype.name)
    return {  # Networks on columns have an axis more, which Keras adds to the data.
        name: keras.Input(tuple(one.shape) or (1,), dtype=one.dtype.name, name=name)
        for name, one in spec.items()
    }


def _averaged(backbone, inputs, kind):
    """Returns a model of the inputs to features, or says what is wrong with it."""
    try:
        features = backbone(inputs)
        rank = len(features.shape)
    except Exception as error:  # Whatever a network says of another input.
        of_shape = f" of shape {inputs.shape[1:]}" if kind == "images" else ""
        remedy = ", or another `image_size`" if kind == "images" else ""
        raise ValueError(
            f"`backbone` must take a batch of {kind}{of_shape}. Received: "
            f"{getattr(backbone, 'name', backbone)!r}, which says: {reason_of(error)} "
            f"Pass a network for such inputs{remedy}."
        ) from error
    if rank == 4:
        features = keras.layers.GlobalAveragePooling2D()(features)
    elif rank != 2:
        raise ValueError(
            "`backbone` must return features (batch, dim), or a feature map (batch, "
            f"height, width, dim). Received: shape {features.shape}."
        )
    return keras.Model(inputs, features)
