"""The beginning of a plugin: a project that installs, lists its model and passes its tests.

``names``        what the distribution, package, model and class are called, and whether they can be
``kinds``        the kinds of models that a plugin can begin with
``project``      the files, written together or not at all
``requirement``  the range of cores to ask for
``template/``    the files themselves, with ``$names`` in them: ``common`` and one folder a kind
"""

from lucid.scaffold.names import PluginNames, plugin_names
from lucid.scaffold.project import write_plugin
from lucid.scaffold.requirement import core_requirement

__all__ = ["PluginNames", "core_requirement", "plugin_names", "write_plugin"]
