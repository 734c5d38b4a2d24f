"""Text and embeddings of a record, compressed with dictionaries that ship with the package.

A record of a few hundred bytes holds too little of its own to learn from, so what is common to dialogue sets is known
beforehand: for text a zstd dictionary trained on DOLLY and MemoryBank, for embeddings one that carries little but the
entropy coder's table for int8 components of unit vectors (scripts/train_dictionary.py). A record names the version it
was written with; versions are never changed, only added to.
"""

import functools
from importlib.resources import files

import zstandard

__all__ = ["VERSION", "compress_embedding", "compress_text", "decompress_embedding", "decompress_text"]

VERSION = 1  # of both dictionaries; what is written now
LEVEL = 15  # 3.6 % larger than level 19, at a quarter of its time


@functools.cache
def _coder(kind: str, version: int) -> tuple[zstandard.ZstdCompressor, zstandard.ZstdDecompressor]:
    words = zstandard.ZstdCompressionDict(
        (files("edgepers.state") / "dictionaries" / f"{kind}-{version}.zstd").read_bytes()
    )
    parameters = zstandard.ZstdCompressionParameters.from_level(
        LEVEL,
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=True,
        write_checksum=False,
        write_dict_id=False,
    )  # the record is authenticated and names its version: header and checksum would say it twice
    return (
        zstandard.ZstdCompressor(dict_data=words, compression_params=parameters),
        zstandard.ZstdDecompressor(dict_data=words, format=zstandard.FORMAT_ZSTD1_MAGICLESS),
    )


def compress_text(data: bytes) -> bytes:
    """UTF-8 text of a record."""
    return _coder("text", VERSION)[0].compress(data)


def decompress_text(data: bytes, version: int) -> bytes:
    """Restore what `compress_text` of that version made."""
    return _coder("text", version)[1].decompress(data)


def compress_embedding(data: bytes) -> bytes:
    """Compress an embedding of int8 components, [width]."""
    return _coder("embedding", VERSION)[0].compress(data)


def decompress_embedding(data: bytes, version: int) -> bytes:
    """Restore what `compress_embedding` of that version made."""
    return _coder("embedding", version)[1].decompress(data)
