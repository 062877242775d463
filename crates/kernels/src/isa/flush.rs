//! Denormal numbers as zero.

/// Makes this thread treat denormal floats as zero, as operand and as result, from now on.
///
/// Training lets activations and moments fade; arithmetic on denormals is many times slower. Call it once
/// at the start of every worker thread, so that all of them agree. It does nothing on CPUs other than
/// `x86_64` and `aarch64`.
pub fn set_flush_to_zero() {
    #[cfg(target_arch = "x86_64")]
    {
        const FLUSH_TO_ZERO: u32 = 1 << 15;
        const DENORMALS_ARE_ZERO: u32 = 1 << 6;
        let mut control = 0u32;
        // SAFETY: stores the control word of the vector unit into the local.
        unsafe {
            std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags));
        }
        control |= FLUSH_TO_ZERO | DENORMALS_ARE_ZERO;
        // SAFETY: the word is valid: the one just read with two mode bits added.
        unsafe {
            std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, preserves_flags));
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        const FLUSH_TO_ZERO: u64 = 1 << 24;
        let mut control: u64;
        // SAFETY: reads the floating-point control register.
        unsafe {
            std::arch::asm!("mrs {}, fpcr", out(reg) control, options(nomem, nostack, preserves_flags));
        }
        control |= FLUSH_TO_ZERO;
        // SAFETY: the value is valid: the one just read with a mode bit added.
        unsafe { std::arch::asm!("msr fpcr, {}", in(reg) control, options(nomem, nostack, preserves_flags)) };
    }
}
