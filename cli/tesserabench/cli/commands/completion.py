"""`tbctl completion bash|zsh|fish`."""

import click
from click.shell_completion import get_completion_class
from tesserabench.cli.context import CommandContext
from tesserabench.cli.grammar import command


@command(
    "completion",
    examples=(
        ("tbctl completion bash > ~/.local/share/bash-completion/completions/tbctl", "for every new bash"),
        ("tbctl completion zsh > ~/.zfunc/_tbctl", "for zsh, with ~/.zfunc in fpath"),
        ("tbctl completion fish > ~/.config/fish/completions/tbctl.fish", "for fish"),
    ),
)
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion_command(context: CommandContext, shell: str) -> None:
    """Print the completion script of a shell."""
    del context
    kind = get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root()
    # `source_template` alone: `source` of bash would start a bash to ask for its version.
    script = kind(root.command, {}, "tbctl", "_TBCTL_COMPLETE")
    click.echo(script.source_template % script.source_vars())
