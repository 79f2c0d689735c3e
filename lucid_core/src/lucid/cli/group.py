"""The root command: the core's commands first, plugins asked only when needed."""

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
    """A command a plugin adds."""

    plugin: Plugin
    command: click.Command
    name: str

    @property
    def qualified_name(self) -> str:
        return f"{self.plugin.entry_point.distribution}:{self.name}"


@dataclass
class _PluginCommands:
    """The commands of all plugins.

    Attributes
    ----------
    offers : dict
        Each command under the name that runs it: qualified, where several plugins
        add one of the same name.
    ambiguous : dict
        Those names, with the qualified ones.
    faults : dict of str to str
        What kept a plugin from adding its commands, by ``distribution version``.
    """

    offers: dict[str, _PluginCommand] = field(default_factory=dict)
    ambiguous: dict[str, list[str]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


def _check_arguments(command: click.Command, parent: click.Context, args: list[str]) -> None:
    """Refuse an option that is given twice, and empty text.

    Of the former, click would take the last in silence; of the latter, which an unset variable
    of a shell gives, an option of a path would make the current directory.
    """
    with click.Context(command, info_name=command.name, parent=parent) as ctx:
        values, _, order = command.make_parser(ctx).parse_args(list(args))
        repeated = Counter(order)
        for parameter in command.get_params(ctx):
            value = values.get(parameter.name or "")
            if value == "" or (isinstance(value, tuple | list) and "" in value):
                raise click.BadParameter("expected a value, got an empty text", ctx, parameter)
            if (
                isinstance(parameter, click.Option)
                and repeated[parameter] > 1
                and not (parameter.multiple or parameter.is_flag or parameter.count)
            ):
                raise click.UsageError(f"give {parameter.opts[-1]} once, it takes one value", ctx)


class LucidGroup(click.Group):
    """A group whose commands come from the core and, by hook, from plugins.

    A plugin is given a group of its own to fill.  If its hook fails, nothing of it
    is used and the rest works; if it takes a name that is in use, neither replaces
    the other.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._from_plugins: _PluginCommands | None = None

    def main(self, *args: Any, **kwargs: Any) -> Any:
        self._from_plugins = None  # plugins may have come or gone since the last run
        return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with wrap_broken_pipes():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with wrap_broken_pipes():
            return super().invoke(ctx)

    def from_plugins(self) -> _PluginCommands:
        """Ask the plugins for their commands, once a run."""
        if self._from_plugins is None:
            found = _PluginCommands()
            by_name: dict[str, list[_PluginCommand]] = {}
            with redirect_stdout(sys.stderr):  # standard output is for the command
                for plugin in zoo.registry.loaded_plugins():
                    for offer in self._ask(plugin, found.faults):
                        by_name.setdefault(offer.name, []).append(offer)
            for name, offers in sorted(by_name.items()):
                if len(offers) == 1:
                    found.offers[name] = offers[0]
                else:
                    found.offers |= {offer.qualified_name: offer for offer in offers}
                    found.ambiguous[name] = [offer.qualified_name for offer in offers]
            self._from_plugins = found
        return self._from_plugins

    def _ask(self, plugin: Plugin, faults: dict[str, str]) -> list[_PluginCommand]:
        group = click.Group()
        try:
            plugin.call_hook("lucid_register_commands", cli=group)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: the other commands still work
            faults[plugin.origin] = f"its commands are left out: {describe_error(error)}"
            return []
        for name in self.commands.keys() & group.commands.keys():
            faults[plugin.origin] = f"its command {name!r} is left out: lucid has one"
        return [
            _PluginCommand(plugin, command, name)
            for name, command in group.commands.items()
            if name not in self.commands
        ]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *self.from_plugins().offers]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        offer = self.from_plugins().offers.get(cmd_name)
        if offer is None:
            return None
        if offer.command.epilog is None:
            offer.command.epilog = f"From {offer.plugin.origin}."
        return offer.command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.commands and not ctx.resilient_parsing and not name.startswith("-"):
            for origin, fault in sorted(self.from_plugins().faults.items()):
                warn(f"{origin}: {fault}")
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
        """Write the commands of the core, then those of each distribution under its name."""
        found = self.from_plugins()
        sections: dict[str, list[tuple[str, click.Command]]] = {
            "Commands": [*self.commands.items()]
        }
        for name, offer in found.offers.items():
            title = f"Commands from {offer.plugin.origin}"
            sections.setdefault(title, []).append((name, offer.command))
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
        if found.faults:
            with formatter.section("Plugins whose commands could not be added"):
                formatter.write_dl(sorted(found.faults.items()))
