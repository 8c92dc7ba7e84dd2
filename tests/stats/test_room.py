"""The law at the door: statistics run with numpy, scipy and scikit-learn alone, and know no other room."""

import subprocess
import sys

CODE = """
import importlib, pkgutil, sys
import mnemoscope.stats
for module in pkgutil.iter_modules(mnemoscope.stats.__path__):
    importlib.import_module("mnemoscope.stats." + module.name)
own = {name.split(".")[1] for name in sys.modules if name.startswith("mnemoscope.")}
print(sorted(own - {"stats", "errors", "axes"}), sorted({"torch", "polars", "transformers"} & set(sys.modules)))
"""


def test_no_torch_and_no_neighbours():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"
