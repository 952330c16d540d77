"""One line a sample: the hash of its bytes. For comparing datasets that are in two places."""

import hashlib
import sys

import atdata

for sample in atdata.load_dataset(sys.argv[1], split="train"):
    print(hashlib.sha256(sample.packed).hexdigest())
