"""Root command group: core commands, and plugin commands loaded on demand."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from lucid.cli.did_you_mean import suggest_command
from lucid.cli.output import warn
from lucid.cli.terminal import wrap_broken_pipes
from lucid.models import suggestions, zoo
from lucid.models.discovery import describe_error

if TYPE_CHECKING:
    from lucid.models.discovery import Plugin

__all__ = ["LucidGroup"]


@dataclass(frozen=True)
class _PluginCommand:
    """Command added by a plugin."""

    plugin: Plugin
    command: click.Command
    name: str

    @property
    def qualified_name(self) -> str:
        return f"{self.plugin.entry_point.distribution}:{self.name}"


@dataclass
class _PluginCommands:
    """Commands of all plugins.

    ``commands`` are by name, or ``distribution:name`` if several plugins add the same name;
    ``ambiguous`` has the qualified names of such a name.  ``errors`` has the reasons why commands
    could not be added, by ``distribution version``.
    """

    commands: dict[str, _PluginCommand] = field(default_factory=dict)
    ambiguous: dict[str, list[str]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def _check_arguments(command: click.Command, parent: click.Context, args: list[str]) -> None:
    """Reject options given twice, and empty values.

    click would silently use the last of two values, and turn an empty path (an unset shell
    variable) into the current directory.
    """
    settings = command.context_settings
    with click.Context(command, info_name=command.name, parent=parent, **settings) as ctx:
        values, _, order = command.make_parser(ctx).parse_args(list(args))
        repeated = Counter(order)
        for parameter in command.get_params(ctx):
            value = values.get(parameter.name or "")
            if value == "" or (isinstance(value, tuple | list) and "" in value):
                raise click.BadParameter("expected a value, got an empty string", ctx, parameter)
            if (
                isinstance(parameter, click.Option)
                and repeated[parameter] > 1
                and not (parameter.multiple or parameter.is_flag or parameter.count)
            ):
                raise click.UsageError(
                    f"expected {parameter.opts[-1]} once, got it {repeated[parameter]} times", ctx
                )


class LucidGroup(click.Group):
    """Command group of the core and of plugins.

    Each plugin hook fills a separate group.  If a hook fails, none of its commands are added.
    A plugin cannot replace a core command; two plugins with the same command name must be
    called as ``distribution:name``.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._from_plugins: _PluginCommands | None = None

    def main(self, *args: Any, **kwargs: Any) -> Any:
        self._from_plugins = None  # plugins may have changed since the last run
        return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with wrap_broken_pipes():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with wrap_broken_pipes():
            return super().invoke(ctx)

    def from_plugins(self) -> _PluginCommands:
        """Load the plugin commands, once per run."""
        if self._from_plugins is None:
            found = _PluginCommands()
            by_name: dict[str, list[_PluginCommand]] = {}
            with redirect_stdout(sys.stderr):  # stdout is for the command's own output
                for plugin in zoo.registry.loaded_plugins():
                    for added in self._load(plugin, found.errors):
                        by_name.setdefault(added.name, []).append(added)
            for name, added_by in sorted(by_name.items()):
                if len(added_by) == 1:
                    found.commands[name] = added_by[0]
                else:
                    found.commands |= {added.qualified_name: added for added in added_by}
                    found.ambiguous[name] = [added.qualified_name for added in added_by]
            self._from_plugins = found
        return self._from_plugins

    def _load(self, plugin: Plugin, errors: dict[str, str]) -> list[_PluginCommand]:
        group = click.Group()
        try:
            plugin.call_hook("lucid_register_commands", cli=group)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: the other commands still work
            errors[plugin.origin] = f"its commands are skipped: {describe_error(error)}"
            return []
        for name in self.commands.keys() & group.commands.keys():
            errors[plugin.origin] = (
                f"its command {name!r} is skipped: lucid has a command of that name"
            )
        return [
            _PluginCommand(plugin, command, name)
            for name, command in group.commands.items()
            if name not in self.commands
        ]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *self.from_plugins().commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        added = self.from_plugins().commands.get(cmd_name)
        if added is None:
            return None
        if added.command.epilog is None:
            added.command.epilog = f"From {added.plugin.origin}."
        return added.command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.commands and not ctx.resilient_parsing and not name.startswith("-"):
            for origin, reason in sorted(self.from_plugins().errors.items()):
                warn(f"{origin}: {reason}")
            if self.get_command(ctx, name) is None:
                raise click.UsageError(self._explain_unknown(ctx, name), ctx)
        name_, command, rest = super().resolve_command(ctx, args)
        if command is not None and not ctx.resilient_parsing:
            _check_arguments(command, ctx, rest)
        return name_, command, rest

    def _explain_unknown(self, ctx: click.Context, name: str) -> str:
        if picks := self.from_plugins().ambiguous.get(name):
            return f"several plugins add the command {name!r}; run {' or '.join(picks)}"
        message = f"there is no command {name!r}"
        discovery = zoo.registry.snapshot().discovery
        advice = suggestions.missing_command_hint(
            name,
            installed=[plugin.entry_point.distribution for plugin in discovery.plugins],
            disabled=[entry_point.distribution for entry_point in discovery.disabled],
        )
        if advice is not None:
            return f"{message}; {advice}"
        commands = {known: self.get_command(ctx, known) for known in self.list_commands(ctx)}
        return f"{message}{suggest_command(name, commands)}"

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the core commands, then those of each distribution."""
        found = self.from_plugins()
        sections: dict[str, list[tuple[str, click.Command]]] = {
            "Commands": [*self.commands.items()]
        }
        for name, added in found.commands.items():
            title = f"Commands from {added.plugin.origin}"
            sections.setdefault(title, []).append((name, added.command))
        longest = max(len(name) for rows in sections.values() for name, _ in rows)
        limit = formatter.width - 6 - longest
        for title, commands in sections.items():
            rows = [
                (name, command.get_short_help_str(limit))
                for name, command in commands
                if not command.hidden
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        if found.errors:
            with formatter.section("Plugins whose commands could not be added"):
                formatter.write_dl(sorted(found.errors.items()))
