"""Who is calling, and what they may do."""

from dataclasses import dataclass, field

from tesserabench.collector.store.words import Role

ANONYMOUS = "anonymous"
COLLECTOR = "collector"
"""Actor of what the collector does by itself."""

_INCLUDES: dict[Role, frozenset[Role]] = {
    Role.VIEWER: frozenset({Role.VIEWER}),
    Role.RUNNER: frozenset({Role.VIEWER, Role.RUNNER}),
    Role.ADMIN: frozenset({Role.VIEWER, Role.RUNNER, Role.ADMIN}),
    Role.AGENT: frozenset({Role.AGENT}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """A caller. `project` empty means every project; `host` is what an agent's token speaks for, empty for any."""

    name: str
    roles: frozenset[Role] = field(default_factory=frozenset)
    project: str = ""
    host: str = ""

    def may(self, role: Role) -> bool:
        """Whether the caller has the role."""
        return role in self.roles

    def may_use_project(self, project: str) -> bool:
        """Whether the caller's scope covers the project."""
        return self.project in {"", project}

    def may_speak_for(self, host: str) -> bool:
        """Whether the caller may act as the agent of this host."""
        return Role.AGENT in self.roles and self.host in {"", host}


def anonymous() -> Actor:
    """The caller when authentication is off: everybody may do everything."""
    return Actor(name=ANONYMOUS, roles=frozenset(Role))


def token_actor(name: str, role: Role, project: str, host: str) -> Actor:
    """The caller behind a token; each role brings the ones that it includes."""
    return Actor(name=name, roles=_INCLUDES[role], project=project, host=host)
