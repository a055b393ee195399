"""What the driver's error numbers (Xid) mean, and what to do about them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Xid:
    """The meaning of an error number."""

    meaning: str
    advice: str
    hardware: bool = True
    """Whether the device, rather than the program that ran on it, is to be looked at."""
    lost: bool = False
    """Whether the device cannot be used any more."""


_PROGRAM = "the kernel is at fault: run it under compute-sanitizer"
_DRAIN = "drain the host and have the GPU checked"

# After NVIDIA's catalogue of Xid errors, those that occur in practice.
_XIDS = {
    13: Xid(meaning="graphics engine exception", advice=_PROGRAM, hardware=False),
    31: Xid(meaning="memory page fault", advice=_PROGRAM, hardware=False),
    32: Xid(meaning="invalid or corrupted push buffer", advice="check the PCIe link, then reload the driver"),
    38: Xid(meaning="driver firmware error", advice="reload the driver"),
    43: Xid(meaning="the GPU stopped processing", advice=_PROGRAM, hardware=False),
    45: Xid(meaning="work was removed after an earlier error", advice="see the error before it", hardware=False),
    48: Xid(meaning="double-bit memory error", advice=_DRAIN),
    61: Xid(meaning="internal microcontroller breakpoint", advice="reset the GPU"),
    62: Xid(meaning="internal microcontroller halt", advice="reset the GPU"),
    63: Xid(meaning="a memory row was remapped or a page retired", advice="reset the GPU soon"),
    64: Xid(meaning="remapping of a memory row failed", advice=_DRAIN),
    74: Xid(meaning="NVLink error", advice="check the link's cable or bridge, then reset the GPU"),
    79: Xid(meaning="the GPU has fallen off the bus", advice="drain the host; check power and slot, reboot", lost=True),
    92: Xid(meaning="many single-bit memory errors", advice=_DRAIN),
    94: Xid(meaning="contained memory error", advice="reset the GPU; replace it when this comes again"),
    95: Xid(meaning="uncontained memory error", advice="reset the GPU before anything else runs", lost=True),
    119: Xid(meaning="the GPU's system processor did not answer", advice="reset the GPU", lost=True),
    120: Xid(meaning="error of the GPU's system processor", advice="reset the GPU", lost=True),
    140: Xid(meaning="unrecovered memory error", advice=_DRAIN, lost=True),
    154: Xid(meaning="the GPU asks for a recovery action", advice="see nvidia-smi -q for the action"),
}
_UNLISTED = Xid(meaning="an error that is not listed here", advice="see NVIDIA's catalogue of Xid errors")


def explain_xid(number: int) -> Xid:
    """What an error number means."""
    return _XIDS.get(number, _UNLISTED)


def xid_sentence(number: int) -> str:
    """The error in a sentence with what to do."""
    found = explain_xid(number)
    return f"the driver reported Xid {number}, {found.meaning}: {found.advice}"
