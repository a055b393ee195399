"""What the stable words of the contract mean and what to do about them."""

from tesserabench.wire.reasons import Reason

REASONS: dict[Reason, tuple[str, str]] = {
    Reason.INVALID_FIELD: (
        "a field of the request cannot be right",
        "the lines above the error name the field and what it takes",
    ),
    Reason.INVALID_PAGE_TOKEN: ("a page token of another list, or of an older collector", "start the list again"),
    Reason.UNKNOWN_SUITE: ("no host of the fleet knows this suite", "tbctl suite list"),
    Reason.UNKNOWN_PARAMETER: (
        "the suite has no such parameter, or the parameter no such value",
        "tbctl suite describe SUITE",
    ),
    Reason.INVALID_POLICY: ("the policy file is wrong, or for another project", "tbctl policy validate FILE"),
    Reason.HOST_NOT_ALLOWED: (
        "the project's policy does not let this host measure this branch",
        "tbctl policy explain --series suite=SUITE --series branch=BRANCH",
    ),
    Reason.SCHEMA_VERSION_UNSUPPORTED: (
        "an agent writes records that this collector does not read",
        "update the older of the two",
    ),
    Reason.MALFORMED_BATCH: ("an upload cannot be read", "look at the agent's log; nothing of the batch was stored"),
    Reason.RUN_NOT_FOUND: ("there is no such run", "tbctl run list"),
    Reason.HOST_NOT_FOUND: ("there is no such host", "tbctl node list"),
    Reason.HOST_NOT_REGISTERED: (
        "the host's agent must register first",
        "the agent does so by itself; look at its log if it lasts",
    ),
    Reason.SUITE_NOT_FOUND: ("there is no such suite", "tbctl suite list"),
    Reason.SERIES_NOT_FOUND: ("there is no such series, or it has no points on this branch", "tbctl history BENCHMARK"),
    Reason.BASELINE_NOT_FOUND: ("there is no such baseline in this project", "tbctl baseline list"),
    Reason.REGRESSION_NOT_FOUND: ("there is no such regression", "tbctl regression list"),
    Reason.SCHEDULE_NOT_FOUND: ("there is no such schedule in this project", "tbctl schedule list"),
    Reason.REFERENCE_NOT_FOUND: (
        "nothing was measured for this commit, branch, run or baseline",
        "tbctl run list --branch or --commit",
    ),
    Reason.POLICY_NOT_FOUND: ("the project's policy has no such revision", "tbctl policy list"),
    Reason.ATTEMPT_NOT_FOUND: ("there is no such attempt", "tbctl run get RUN"),
    Reason.RENDEZVOUS_NOT_FOUND: (
        "no host of the run has come to this rendezvous, or it is over and cleared away",
        "the agent asks again by itself; look at its log if it lasts",
    ),
    Reason.RENDEZVOUS_MISMATCH: (
        "the hosts of a run do not agree on how many they are or which place each has",
        "update agents of different versions; tbctl run retry RUN",
    ),
    Reason.RUN_PENDING: ("the run has not finished, or is not judged yet", "tbctl run watch RUN"),
    Reason.RUN_FINISHED: ("the run has finished already", "tbctl run retry RUN measures again"),
    Reason.BASELINE_PINNED: ("the baseline is protected from being moved", "tbctl baseline unpin NAME"),
    Reason.REGRESSION_CLOSED: ("the regression is closed", "tbctl regression reopen ID"),
    Reason.REGRESSION_OPEN: ("the regression is open already", "tbctl regression get ID"),
    Reason.POLICY_CHANGED: ("somebody else has applied another policy meanwhile", "tbctl policy diff FILE"),
    Reason.SUPERSEDED: ("a newer process of the same host has registered", "stop the older agent"),
    Reason.SCHEDULE_EXISTS: ("there is a schedule of this name already", "delete it first, or choose another name"),
    Reason.REQUEST_ID_REUSED: ("the idempotency key was used for another request", "use a new key, or leave it out"),
    Reason.TOKEN_MISSING: (
        "the collector wants a token",
        "set TBCTL_TOKEN or TBCTL_TOKEN_FILE, or a context with a token-file",
    ),
    Reason.TOKEN_INVALID: ("the token is unknown, expired or revoked", "ask for a new one"),
    Reason.ROLE_MISSING: (
        "the token may not do this",
        "tbctl doctor shows its roles; ask for one with the role that is missing",
    ),
    Reason.DATABASE_UNAVAILABLE: (
        "the collector has no database just now",
        "try again; look at the collector's /readyz if it lasts",
    ),
    Reason.MESSAGE_TOO_LARGE: ("the request is larger than the collector takes", "ask for less at once"),
    Reason.INTERNAL: ("a fault of the collector", "look at its log for the time of the call, and report it"),
}

OUTCOMES: dict[str, tuple[str, str]] = {
    "ok": ("ended well", "nothing to do"),
    "incorrect": ("the outputs do not match the reference", "the kernel is wrong, however fast; fix it first"),
    "implausible": ("faster than the hardware can be", "the work was not done, or was optimised away"),
    "timeout": ("a phase took longer than its budget", "raise --case-timeout, or look for a hang"),
    "out_of_memory": (
        "the device or the host had too little memory",
        "choose smaller parameters with --set, or another host",
    ),
    "device_error": ("the device reported an error, or the worker died", "tbctl run logs RUN"),
    "device_lost": ("the device is gone from the bus", "tbctl node cordon HOST, and look at the machine"),
    "busy": ("another process used the device for too long", "free the device, or choose another host"),
    "throttled": (
        "the device throttled for too much of the time",
        "look at cooling and power limit, or choose another host",
    ),
    "unsupported": ("this device cannot run this case", "nothing to do; --skip leaves it out"),
    "cancelled": ("somebody asked for it to stop", "tbctl run retry RUN"),
    "interrupted": ("the host, the agent or the link went away while it ran", "tbctl run retry RUN"),
    "harness_error": ("the measuring code itself failed", "tbctl run logs RUN, and report it"),
    "no_eligible_host": ("no host matched before the deadline", "tbctl node list; tbctl run trigger --dry-run"),
}
