"""Wrong files, made of right ones."""

from hypothesis import strategies as st

ODD = (
    b"\xff" * 10,
    b"\x00" * 8,
    b"9" * 400,
    b"1e400",
    b"nan",
    b"-1",
    b"../",
    b"{",
    b"[" * 300,
    b'"',
)
"""What parsers stumble over."""


@st.composite
def mutated(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """One of some files, of which a few parts were cut, doubled, swapped, or written over."""
    content = draw(st.sampled_from(originals))
    for _ in range(draw(st.integers(1, 3))):
        # Often near the ends, which is where a format's heads are.
        near, size = draw(st.integers(0, 400)), draw(st.integers(0, 60))
        start = draw(st.sampled_from([near, max(len(content) - near, 0)]))
        start = draw(st.just(start) | st.integers(0, len(content)))
        part = content[start : start + size]
        new = draw(
            st.sampled_from([b"", 2 * part, 50 * part, part[::-1], *ODD])
            | st.binary(min_size=size, max_size=size)
        )
        if draw(st.booleans()) and part:  # a single bit
            index, bit = draw(st.integers(0, len(part) - 1)), draw(st.integers(0, 7))
            new = part[:index] + bytes([part[index] ^ 1 << bit]) + part[index + 1 :]
        content = content[:start] + new + content[start + size :]
    return content


def is_one_sentence(error: Exception) -> bool:
    """Whether a person can read it."""
    text = str(error)
    return 0 < len(text) < 1000 and "\n" not in text
