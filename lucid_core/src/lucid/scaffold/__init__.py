"""Templates of ``lucid new-plugin``: a plugin project with a model and tests.

``names``        names of the distribution, package, model and class
``kinds``        kinds of models: classifier, backbone, detector
``project``      render and write the files
``requirement``  version range of ``lucid-core``
``template/``    the files with ``$names``: ``common`` and one folder per kind
"""

from lucid.scaffold.names import PluginNames, plugin_names
from lucid.scaffold.project import write_plugin
from lucid.scaffold.requirement import core_requirement

__all__ = ["PluginNames", "core_requirement", "plugin_names", "write_plugin"]
