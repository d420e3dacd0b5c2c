"""An operator of several kinds in one component: it is the one that it is called.

To make a component of Python takes long; the conformance suite makes one for each
world, of this file and of the operators of that world, each as `of_KIND.py`.
"""

import importlib
from pathlib import Path
from typing import Any, Dict

from cofferdam import KeyedOperator, Processor, operator
from cofferdam.processor import registered

KINDS: Dict[str, Any] = {}
for path in sorted(Path(__file__).parent.glob("of_*.py")):
    importlib.import_module(path.stem)
    KINDS[path.stem[len("of_") :].replace("_", "-")] = registered()

if all(issubclass(kind, KeyedOperator) for kind in KINDS.values()):

    @operator
    class SeveralKeyed(KeyedOperator):
        def open(self, ctx):
            self.one = KINDS[ctx.operator]()
            self.one.open(ctx)

        def fold(self, group, out):
            self.one.fold(group, out)

        def fire(self, group, firing, out):
            self.one.fire(group, firing, out)

        def state_codec(self):
            return self.one.state_codec()

else:

    @operator
    class Several(Processor):
        def open(self, ctx):
            self.one = KINDS[ctx.operator]()
            self.one.open(ctx)

        def process(self, batch, out):
            self.one.process(batch, out)

        def finish(self, out):
            self.one.finish(out)
