//! The instructions that filters are made of, and a machine that runs them as the kernel would: one program, or a stack
//! of them as they are in force when each was installed on top of the one before.

/// As the kernel's `struct sock_filter`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instruction {
    pub code: u16,
    pub jt: u8,
    pub jf: u8,
    pub k: u32,
}

/// A program that can be installed.
pub type Program = Vec<Instruction>;

pub const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
pub const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
pub const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
pub const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
pub const JUMP_IF_ABOVE: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
pub const JUMP_IF_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
pub const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Offsets in `struct seccomp_data`; both architectures are little-endian.
pub const NUMBER: u32 = 0;
pub const ARCH: u32 = 4;
pub const ARGS: u32 = 16;

/// The kernel takes no longer program (`BPF_MAXINSNS`).
pub const LONGEST: usize = 4096;

/// What a program is told of a system call.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub arch: u32,
    pub number: u32,
    pub args: [u64; 6],
}

/// What the program returns for this call.
pub fn run(program: &[Instruction], call: &Call) -> u32 {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let branch = |condition| usize::from(if condition { jt } else { jf });
        match code {
            LOAD => accumulator = load(k, call),
            AND => accumulator &= k,
            JUMP => at += k as usize,
            JUMP_IF_EQUAL => at += branch(accumulator == k),
            JUMP_IF_ABOVE => at += branch(accumulator > k),
            JUMP_IF_AT_LEAST => at += branch(accumulator >= k),
            RETURN => return k,
            other => panic!("no program here has an instruction {other:#x}"),
        }
    }
}

/// What the kernel makes of the answers of several programs, given in the order they were installed: it asks the newest
/// first, and a later answer only counts if its action comes strictly before, as a signed number.
pub fn run_stack(programs: &[Program], call: &Call) -> u32 {
    // With the sign bit turned over, unsigned numbers are in the order of signed ones.
    let action = |answer: u32| (answer & 0xffff_0000) ^ 0x8000_0000;
    let answers = programs.iter().rev().map(|program| run(program, call));
    answers
        .reduce(|first, next| if action(next) < action(first) { next } else { first })
        .expect("a stack has a program")
}

fn load(offset: u32, call: &Call) -> u32 {
    match offset {
        NUMBER => call.number,
        ARCH => call.arch,
        _ => {
            let bytes = call.args[(offset - ARGS) as usize / 8].to_le_bytes();
            let from = (offset - ARGS) as usize % 8;
            u32::from_le_bytes(bytes[from..from + 4].try_into().expect("four bytes"))
        }
    }
}
