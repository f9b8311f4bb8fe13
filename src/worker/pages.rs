//! How a zygote's memory is arranged for its children.
//!
//! Runs in the zygote. Filling a child's page tables at the clone, copying what it writes to, and undoing all of it at its end
//! is most of what a child costs. So what children only read is put into huge pages, whose entries stand for 512 pages each,
//! and the pages that every child writes to are found out once ([`Written`]). Nothing depends on this but time: what a kernel
//! refuses is left as it was.

use super::written::Written;
use crate::python::Interpreter;
use crate::sys::memory::{self, Access, HUGE};
use crate::sys::own_proc::{Alone, Mapping, Mappings, OwnProc};
use crate::sys::pins::Pins;
use std::ops::Range;

/// What holds less than this would cost more as a huge page than it saves.
const WORTH_IT: usize = HUGE / 4;

/// The same for the program's code and constants: each child saves the faults that map them, and the pages are few.
const WORTH_IT_FOR_PROGRAM: usize = HUGE / 32;

/// Arranges the memory of a zygote that has all it will ever have, and finds out what its children will write to.
pub fn settle(own_proc: &OwnProc, alone: &Alone, interpreter: &Interpreter, pins: Option<Pins>) -> Written {
    // What /proc tells of a process's pages is root's alone to read while the process can't be traced; `seal_zygote` makes
    // that so again.
    let _ = nix::sys::prctl::set_dumpable(true);
    if let Some(mappings) = own_proc.mappings() {
        put_program_into_huge_pages(&mappings, alone);
        join_machine_code(&mappings);
        join_variables(&mappings, alone);
        put_heaps_into_huge_pages(&mappings, own_proc);
    }
    Written::learn(own_proc, alone, interpreter, pins)
}

/// The program's machine code, constants and variables: as a file's pages they would be mapped into each child by a fault for
/// every 16, or copied one by one.
fn put_program_into_huge_pages(mappings: &Mappings, alone: &Alone) {
    for segment in mappings.iter().filter(|mapping| is_program(mapping, mappings)) {
        let Some(access) = segment.access() else { continue };
        let zeroed = zeroed_after(segment, mappings).filter(|_| access == Access::ReadWrite);
        let range = segment.range().start..zeroed.unwrap_or(segment).range().end;
        let window = window_of(&range, mappings);
        let part = range.start.max(window.start)..range.end.min(window.end);
        if part.len() > WORTH_IT {
            let _ = memory::replace_by_huge_pages(alone, mappings, &window, &part, access);
        }
    }
}

/// Whether it shows the file that this code is in.
fn is_program(mapping: &Mapping, mappings: &[Mapping]) -> bool {
    let here = is_program as fn(&Mapping, &[Mapping]) -> bool as usize;
    mappings.iter().any(|code| code.range().contains(&here) && code.file == mapping.file)
}

/// The huge pages that a segment can have to itself: no other mapping has a part in them. Where little of it lies in the first
/// or the last, that one is left out.
fn window_of(segment: &Range<usize>, mappings: &[Mapping]) -> Range<usize> {
    let is_free = |range: Range<usize>| {
        !mappings.iter().any(|mapping| mapping.range().start < range.end && range.start < mapping.range().end)
    };
    let mut window = segment.start / HUGE * HUGE..segment.end.next_multiple_of(HUGE);
    if !is_free(window.start..segment.start) || window.start + HUGE - segment.start < WORTH_IT_FOR_PROGRAM {
        window.start += HUGE;
    }
    if !is_free(segment.end..window.end) || segment.end - (window.end - HUGE) < WORTH_IT_FOR_PROGRAM {
        window.end -= HUGE;
    }
    window
}

/// Each mapping is copied for each child, and a library usually has three in a row that differ in nothing but that only the
/// middle one may be executed.
fn join_machine_code(mappings: &[Mapping]) {
    for pair in mappings.windows(2) {
        let [before, after] = pair else { continue };
        let constants = match (before.access(), after.access()) {
            (Some(Access::Read), Some(Access::ReadExecute)) => before,
            (Some(Access::ReadExecute), Some(Access::Read)) => after,
            _ => continue,
        };
        if before.is_followed_by(after) {
            let _ = memory::join_machine_code(constants);
        }
    }
}

/// A library's variables are three in a row: those that its loader set and made read-only, those of the file, and those that
/// begin as zero. As one mapping all can be written to. That takes nothing from the jail: a script may make any memory writable.
fn join_variables(mappings: &Mappings, alone: &Alone) {
    for (number, variables) in mappings.iter().enumerate() {
        if !variables.is_of_file() || variables.access() != Some(Access::ReadWrite) || is_program(variables, mappings) {
            continue;
        }
        let set_once =
            number.checked_sub(1).map(|number| &mappings[number]).filter(|before| before.goes_on_in(variables));
        let zeroed = zeroed_after(variables, mappings);
        let first = set_once.unwrap_or(variables);
        let last = zeroed.unwrap_or(variables);
        let range = first.range().start..last.range().end;
        if range != *variables.range() {
            let _ = memory::replace_by_anonymous(alone, mappings, &range, Access::ReadWrite);
        }
    }
}

/// The variables that begin as zero, and are in no file, behind those of a file.
fn zeroed_after<'a>(variables: &Mapping, mappings: &'a [Mapping]) -> Option<&'a Mapping> {
    let is_zeroed =
        |other: &&Mapping| other.range().start == variables.range().end && other.is_heap() && other.name.is_empty();
    mappings.iter().find(is_zeroed)
}

/// Objects: most of what a zygote has, and a child writes to few of them.
fn put_heaps_into_huge_pages(mappings: &[Mapping], own_proc: &OwnProc) {
    for heap in mappings.iter().filter(|mapping| mapping.is_heap()) {
        let inner = heap.range().start.next_multiple_of(HUGE)..heap.range().end / HUGE * HUGE;
        for start in inner.step_by(HUGE) {
            let window = start..start + HUGE;
            if own_proc.present(&window).is_ok_and(|pages| pages * memory::page_size() > WORTH_IT) {
                let _ = memory::collapse(&window);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_has_the_huge_pages_that_nothing_else_lies_in() {
        let alone = Mappings::of_lines(&["00709000-00bbf000 r-xp 00309000 fe:00 7 /mayfly"]);
        assert_eq!(window_of(alone[0].range(), &alone), 0x60_0000..0xc0_0000);

        let crowded = Mappings::of_lines(&[
            "00200000-0050a000 r--p 00000000 fe:00 7 /mayfly",
            "0050a000-009bf000 r-xp 00309000 fe:00 7 /mayfly",
            "009bf000-009e9000 r--p 007bd000 fe:00 7 /mayfly",
        ]);
        assert_eq!(window_of(crowded[0].range(), &crowded), 0x20_0000..0x40_0000);
        assert_eq!(window_of(crowded[1].range(), &crowded), 0x60_0000..0x80_0000);
        assert!(window_of(crowded[2].range(), &crowded).is_empty());
    }

    #[test]
    fn a_line_of_maps_is_read() {
        let [file, heap, other, shared] = &Mappings::of_lines(&[
            "7f08e3853000-7f08e3879000 r--p 00000000 fe:00 1234                       /usr/lib/a name/libc.so.6",
            "115f7000-11814000 rw-p 00000000 00:00 0                                  [heap]",
            "7f08e05ff000-7f08e1c00000 rw-p 00000000 00:00 0 ",
            "7f08e0000000-7f08e0001000 rw-s 00000000 00:01 5 /dev/zero",
        ])[..] else {
            panic!("four lines");
        };
        assert_eq!((file.access(), file.is_of_file(), file.is_heap()), (Some(Access::Read), true, false));
        assert_eq!(*file.range(), 0x7f08_e385_3000..0x7f08_e387_9000);
        assert!(heap.is_heap() && other.is_heap() && !other.is_of_file());
        assert_eq!((shared.access(), shared.is_heap()), (None, false));
    }
}
