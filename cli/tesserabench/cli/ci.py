"""What the variables of a CI system say about the code that is being built. Pure: the environment is passed in."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFacts:
    """The code under test. An empty text is not known."""

    provider: str = ""
    commit: str = ""
    branch: str = ""
    base: str = ""
    pull_request: str = ""
    build_url: str = ""
    repository: str = ""


ReadText = Callable[[str], str]

_COMMIT = re.compile(r"[0-9a-fA-F]{7,64}")


def detect(environment: Mapping[str, str], *, read_text: ReadText) -> BuildFacts:
    """The facts of the CI system whose variables are set; none known outside of one.

    `read_text` reads the file that GitHub describes its event in; it may raise OSError.
    """
    if environment.get("GITHUB_ACTIONS") == "true":
        return _github(environment, read_text)
    if environment.get("GITLAB_CI"):
        return _gitlab(environment)
    if environment.get("BUILDKITE"):
        return _buildkite(environment)
    if environment.get("JENKINS_URL"):
        return _jenkins(environment)
    if environment.get("CI", "").lower() in {"1", "true"}:
        return BuildFacts(provider="ci")
    return BuildFacts()


def repository_of(address: str) -> str:
    """`owner/name` of a git address, without host and credentials; a local path gives nothing."""
    match = re.fullmatch(r"(?:[a-z+]+://(?:[^@/]*@)?[^/]+/|(?:[^@/:]+@)?[^/:]+:)(.+?)(?:\.git)?/?", address.strip())
    return match[1].lstrip("/") if match and not address.startswith("file:") else ""


def _github(environment: Mapping[str, str], read_text: ReadText) -> BuildFacts:
    pull = re.fullmatch(r"refs/pull/(\d+)/.*", environment.get("GITHUB_REF", ""))
    server, repository, build = (
        environment.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    )
    commit = environment.get("GITHUB_SHA", "")
    if pull:
        # For a pull request GITHUB_SHA is a merge made for the build; the event names the commit that was pushed.
        commit = _pushed_commit(environment.get("GITHUB_EVENT_PATH", ""), read_text) or commit
    return BuildFacts(
        provider="github",
        commit=_commit(commit),
        branch=environment.get("GITHUB_HEAD_REF") or ("" if pull else environment.get("GITHUB_REF_NAME", "")),
        base=environment.get("GITHUB_BASE_REF", ""),
        pull_request=pull[1] if pull else "",
        build_url=f"{server}/{repository}/actions/runs/{build}" if server and repository and build else "",
        repository=repository,
    )


def _pushed_commit(path: str, read_text: ReadText) -> str:
    if not path:
        return ""
    try:
        return str(json.loads(read_text(path))["pull_request"]["head"]["sha"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _gitlab(environment: Mapping[str, str]) -> BuildFacts:
    merge = environment.get("CI_MERGE_REQUEST_IID", "")
    return BuildFacts(
        provider="gitlab",
        commit=_commit(environment.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or environment.get("CI_COMMIT_SHA", "")),
        branch=environment.get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME") or environment.get("CI_COMMIT_REF_NAME", ""),
        base=environment.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", ""),
        pull_request=merge,
        build_url=environment.get("CI_JOB_URL") or environment.get("CI_PIPELINE_URL", ""),
        repository=environment.get("CI_PROJECT_PATH", ""),
    )


def _buildkite(environment: Mapping[str, str]) -> BuildFacts:
    pull = environment.get("BUILDKITE_PULL_REQUEST", "")
    return BuildFacts(
        provider="buildkite",
        commit=_commit(environment.get("BUILDKITE_COMMIT", "")),
        branch=environment.get("BUILDKITE_BRANCH", ""),
        base=environment.get("BUILDKITE_PULL_REQUEST_BASE_BRANCH", ""),
        pull_request="" if pull == "false" else pull,
        build_url=environment.get("BUILDKITE_BUILD_URL", ""),
        repository=repository_of(environment.get("BUILDKITE_REPO", "")),
    )


def _jenkins(environment: Mapping[str, str]) -> BuildFacts:
    branch = environment.get("CHANGE_BRANCH") or environment.get("BRANCH_NAME") or environment.get("GIT_BRANCH", "")
    return BuildFacts(
        provider="jenkins",
        commit=_commit(environment.get("GIT_COMMIT", "")),
        branch=branch.removeprefix("origin/"),
        base=environment.get("CHANGE_TARGET", ""),
        pull_request=environment.get("CHANGE_ID", ""),
        build_url=environment.get("BUILD_URL", ""),
        repository=repository_of(environment.get("GIT_URL", "")),
    )


def _commit(text: str) -> str:
    """The hash; a name such as `HEAD`, which Buildkite gives at times, is no hash."""
    return text.lower() if _COMMIT.fullmatch(text) else ""
