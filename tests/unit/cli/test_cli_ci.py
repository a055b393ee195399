"""What CI systems say about the code that they build."""

import json

import pytest
from tesserabench.cli.ci import BuildFacts, detect, repository_of


def no_file(path: str) -> str:
    raise FileNotFoundError(path)


GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SHA": "a" * 40,
    "GITHUB_REF": "refs/heads/main",
    "GITHUB_REF_NAME": "main",
    "GITHUB_SERVER_URL": "https://github.example.org",
    "GITHUB_REPOSITORY": "owner/name",
    "GITHUB_RUN_ID": "17",
}
GITHUB_FACTS = BuildFacts(
    provider="github",
    commit="a" * 40,
    branch="main",
    build_url="https://github.example.org/owner/name/actions/runs/17",
    repository="owner/name",
)


@pytest.mark.parametrize(
    ("environment", "facts"),
    [
        ({}, BuildFacts()),
        ({"CI": "true"}, BuildFacts(provider="ci")),
        (GITHUB, GITHUB_FACTS),
        (
            {
                "GITLAB_CI": "true",
                "CI_COMMIT_SHA": "b" * 40,
                "CI_COMMIT_REF_NAME": "refs/merge-requests/5/head",
                "CI_MERGE_REQUEST_IID": "5",
                "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "faster",
                "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
                "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": "c" * 40,
                "CI_JOB_URL": "https://gitlab.example.org/j/1",
                "CI_PROJECT_PATH": "group/sub/name",
            },
            BuildFacts(
                provider="gitlab",
                commit="c" * 40,
                branch="faster",
                base="main",
                pull_request="5",
                build_url="https://gitlab.example.org/j/1",
                repository="group/sub/name",
            ),
        ),
        (
            {
                "JENKINS_URL": "https://jenkins.example.org/",
                "GIT_COMMIT": "d" * 40,
                "GIT_BRANCH": "origin/main",
                "BUILD_URL": "https://jenkins.example.org/job/1",
                "GIT_URL": "https://user:secret@git.example.org/owner/name.git",
            },
            BuildFacts(
                provider="jenkins",
                commit="d" * 40,
                branch="main",
                build_url="https://jenkins.example.org/job/1",
                repository="owner/name",
            ),
        ),
        (
            {
                "JENKINS_URL": "x",
                "GIT_COMMIT": "d" * 40,
                "BRANCH_NAME": "PR-9",
                "CHANGE_BRANCH": "faster",
                "CHANGE_TARGET": "main",
                "CHANGE_ID": "9",
            },
            BuildFacts(provider="jenkins", commit="d" * 40, branch="faster", base="main", pull_request="9"),
        ),
        (
            {
                "BUILDKITE": "true",
                "BUILDKITE_COMMIT": "HEAD",
                "BUILDKITE_BRANCH": "main",
                "BUILDKITE_PULL_REQUEST": "false",
                "BUILDKITE_BUILD_URL": "https://buildkite.example.org/1",
                "BUILDKITE_REPO": "git@git.example.org:owner/name.git",
            },
            BuildFacts(
                provider="buildkite",
                branch="main",
                build_url="https://buildkite.example.org/1",
                repository="owner/name",
            ),
        ),
    ],
)
def test_variables_are_read(environment: dict[str, str], facts: BuildFacts) -> None:
    assert detect(environment, read_text=no_file) == facts


PULL = {**GITHUB, "GITHUB_REF": "refs/pull/17/merge", "GITHUB_HEAD_REF": "faster", "GITHUB_BASE_REF": "main"}


def test_pull_request_of_github_names_the_commit_that_was_pushed() -> None:
    event = json.dumps({"pull_request": {"head": {"sha": "e" * 40}}})
    found = detect({**PULL, "GITHUB_EVENT_PATH": "/event.json"}, read_text=lambda path: event)
    assert (found.commit, found.branch, found.base, found.pull_request) == ("e" * 40, "faster", "main", "17")


@pytest.mark.parametrize("event", ["", "no json", "{}", '{"pull_request": null}'])
def test_pull_request_without_a_readable_event_takes_the_merge(event: str) -> None:
    found = detect({**PULL, "GITHUB_EVENT_PATH": "/event.json"}, read_text=lambda path: event)
    assert found.commit == "a" * 40
    assert detect({**PULL, "GITHUB_EVENT_PATH": "/x"}, read_text=no_file).commit == "a" * 40


@pytest.mark.parametrize(
    ("address", "repository"),
    [
        ("https://git.example.org/owner/name.git", "owner/name"),
        ("https://user:secret@git.example.org/owner/name/", "owner/name"),
        ("ssh://git@git.example.org:22/owner/name.git", "owner/name"),
        ("git@git.example.org:owner/name.git", "owner/name"),
        ("/srv/git/name.git", ""),
        ("file:///srv/git/name.git", ""),
        ("", ""),
    ],
)
def test_repository_is_the_path_of_its_address_without_secrets(address: str, repository: str) -> None:
    assert repository_of(address) == repository
