"""The process that validates a bundle: `python -m tesserabench.bench.bundle.child FD REQUEST`.

Every check goes as one line of JSON to the inherited descriptor FD; what the bundle prints goes elsewhere.
"""

import json
import os
import sys
from pathlib import Path

from tesserabench.bench.bundle.supervising import ALL_TOLD
from tesserabench.bench.bundle.validation import examine
from tesserabench.bench.worker.pipe import die_with


def main() -> None:
    """Check the bundle that the request names."""
    descriptor, request = int(sys.argv[1]), json.loads(sys.argv[2])
    die_with(request["parent"])
    found = examine(
        Path(request["folder"]), devices=tuple(request["devices"]), architectures=tuple(request["architectures"])
    )
    for check in found:
        os.write(descriptor, json.dumps(check.to_dict()).encode() + b"\n")
    os.write(descriptor, ALL_TOLD + b"\n")


if __name__ == "__main__":
    main()
