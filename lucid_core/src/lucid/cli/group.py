"""The root command: the core's commands first, plugins asked only when needed."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from lucid.models import suggestions, zoo
from lucid.models.discovery import describe_error

if TYPE_CHECKING:
    from lucid.models.discovery import Plugin

__all__ = ["LucidGroup"]


@dataclass
class _PluginCommands:
    """The commands of all plugins.

    Attributes
    ----------
    by_name : dict
        Each command under its name, with the plugins that add one of that name.
    faults : dict of str to str
        What kept a plugin from adding its commands, by ``distribution version``.
    """

    by_name: dict[str, list[tuple[Plugin, click.Command]]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


class LucidGroup(click.Group):
    """A group whose commands come from the core and, by hook, from plugins.

    A plugin is given a group of its own to fill.  If its hook fails, nothing of it
    is used and the rest works; if it takes a name that is in use, neither replaces
    the other.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._from_plugins: _PluginCommands | None = None

    def from_plugins(self) -> _PluginCommands:
        """Ask the plugins for their commands, once a run."""
        if self._from_plugins is None:
            self._from_plugins = found = _PluginCommands()
            for plugin in zoo.registry.loaded_plugins():
                self._ask(plugin, found)
        return self._from_plugins

    def _ask(self, plugin: Plugin, found: _PluginCommands) -> None:
        group = click.Group()
        try:
            plugin.register_commands(group)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too: the other commands still work
            found.faults[plugin.origin] = f"its commands are left out: {describe_error(error)}"
            return
        for name, command in group.commands.items():
            if name in self.commands:
                found.faults[plugin.origin] = f"its command {name!r} is left out: lucid has one"
            else:
                found.by_name.setdefault(name, []).append((plugin, command))

    def main(self, *args: Any, **kwargs: Any) -> Any:
        self._from_plugins = None  # plugins may have come or gone since the last run
        return super().main(*args, **kwargs)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.commands, *sorted(self.from_plugins().by_name)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        found = self.from_plugins()
        _warn_of(found)
        source, _, name = cmd_name.rpartition(":")
        offers = [
            (plugin, command)
            for plugin, command in found.by_name.get(name, [])
            if not source or plugin.candidate.distribution == source
        ]
        if len(offers) > 1:
            picks = " or ".join(f"{p.candidate.distribution}:{name}" for p, _ in offers)
            raise click.UsageError(f"several plugins add the command {name!r}; run {picks}", ctx)
        if not offers:
            return None
        plugin, command = offers[0]
        if command.epilog is None:
            command.epilog = f"From {plugin.origin}."
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        known = ctx.resilient_parsing or name.startswith("-")
        if not known and self.get_command(ctx, name) is None:
            raise click.UsageError(self._explain_unknown(ctx, name), ctx)
        return super().resolve_command(ctx, args)

    def _explain_unknown(self, ctx: click.Context, name: str) -> str:
        message = f"there is no command {name!r}"
        provider = suggestions.provider_of_command(name)
        if provider is not None:
            if provider not in {plugin.distribution for plugin in zoo.list_plugins()}:
                message += f"; {provider} adds it: {suggestions.pip_install(provider)}"
            return message
        close = difflib.get_close_matches(name, self.list_commands(ctx), n=2)
        return f"{message}; did you mean {' or '.join(map(repr, close))}?" if close else message

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands of the core, then those of each distribution under its name."""
        found = self.from_plugins()
        sections: dict[str, list[tuple[str, click.Command]]] = {"Commands": []}
        sections["Commands"] += self.commands.items()
        for name, offers in sorted(found.by_name.items()):
            for plugin, command in offers:
                distribution = plugin.candidate.distribution
                shown = name if len(offers) == 1 else f"{distribution}:{name}"
                sections.setdefault(f"Commands from {plugin.origin}", []).append((shown, command))
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


def _warn_of(found: _PluginCommands) -> None:
    for origin, fault in sorted(found.faults.items()):
        click.echo(f"lucid: warning: {origin}: {fault}", err=True)
    found.faults.clear()
