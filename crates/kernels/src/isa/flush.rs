//! Denormal numbers as zero.

/// Makes this thread treat denormal floats as zero, as operand and as result, from now on.
///
/// Training lets activations and moments fade; arithmetic on denormals is many times slower. Call it once
/// at the start of every worker thread, so that all of them agree. It does nothing on CPUs other than
/// `x86_64` and `aarch64`.
pub fn set_flush_to_zero() {
    control::write(control::read() | control::FLUSH_TO_ZERO);
}

/// The same until the value is dropped, for a thread that is not ours.
pub(crate) struct FlushToZero {
    before: control::Word,
}

impl FlushToZero {
    pub(crate) fn new() -> Self {
        let before = control::read();
        set_flush_to_zero();
        Self { before }
    }
}

impl Drop for FlushToZero {
    fn drop(&mut self) {
        control::write(self.before);
    }
}

/// The control word of the vector unit.
#[cfg(target_arch = "x86_64")]
mod control {
    pub(super) type Word = u32;
    /// Results become zero, and so do operands.
    pub(super) const FLUSH_TO_ZERO: Word = 1 << 15 | 1 << 6;

    pub(super) fn read() -> Word {
        let mut word = 0;
        // SAFETY: stores the control word into the local.
        unsafe {
            std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack, preserves_flags));
        }
        word
    }

    pub(super) fn write(word: Word) {
        // SAFETY: the word is valid: one that was read, with mode bits added.
        unsafe {
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack, preserves_flags));
        }
    }
}

/// The control register of floating point.
#[cfg(target_arch = "aarch64")]
mod control {
    pub(super) type Word = u64;
    pub(super) const FLUSH_TO_ZERO: Word = 1 << 24;

    pub(super) fn read() -> Word {
        let word: Word;
        // SAFETY: reads the register.
        unsafe { std::arch::asm!("mrs {}, fpcr", out(reg) word, options(nomem, nostack, preserves_flags)) };
        word
    }

    pub(super) fn write(word: Word) {
        // SAFETY: the value is valid: one that was read, with a mode bit added.
        unsafe { std::arch::asm!("msr fpcr, {}", in(reg) word, options(nomem, nostack, preserves_flags)) };
    }
}

/// Nothing to set.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod control {
    pub(super) type Word = u32;
    pub(super) const FLUSH_TO_ZERO: Word = 0;

    pub(super) fn read() -> Word {
        0
    }

    pub(super) fn write(_: Word) {}
}
