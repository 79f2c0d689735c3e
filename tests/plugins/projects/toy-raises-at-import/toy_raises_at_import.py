"""Plugin module that imports a missing module."""

import a_module_that_nobody_has  # noqa: F401
