//! Checks of lengths and shapes that the kernels make once, before their loops.

use residuum_tensor::MapLayout;

/// Panics unless `found == expected`; `what` names the slice.
#[track_caller]
pub(crate) fn length(what: &str, found: usize, expected: usize) {
    assert!(found == expected, "{what} holds {found} elements, expected {expected}");
}

/// Panics unless a slice of `len` floats holds every pixel of a map.
#[track_caller]
pub(crate) fn map(what: &str, len: usize, layout: &MapLayout) {
    assert!(layout.c <= layout.pitch, "{what}: {} channels at a pitch of {}", layout.c, layout.pitch);
    let needed = if layout.is_empty() {
        0
    } else {
        layout.offset(layout.n - 1, layout.h - 1, layout.w - 1) + layout.c
    };
    assert!(len >= needed, "{what} holds {len} floats, expected at least {needed} for {layout:?}");
}

/// Panics unless a slice of `len` floats holds every pixel of a map and of its border.
#[track_caller]
pub(crate) fn bordered_map(what: &str, len: usize, layout: &MapLayout) {
    map(what, len, layout);
    let needed = layout.len().saturating_sub(layout.pitch - layout.c);
    assert!(len >= needed, "{what} holds {len} floats, expected at least {needed} for {layout:?}");
}

/// Panics unless the map's images, rows, columns and channels are those expected.
#[track_caller]
pub(crate) fn shape(what: &str, layout: &MapLayout, expected: [usize; 4]) {
    let found = [layout.n, layout.h, layout.w, layout.c];
    assert!(found == expected, "{what} is {found:?} (n, h, w, c), expected {expected:?}");
}
