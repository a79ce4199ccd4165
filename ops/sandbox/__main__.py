import sys

from ops.sandbox.daemon import main

sys.exit(main())
