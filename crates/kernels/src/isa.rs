//! Instruction sets: which there are, which the CPU has, and how one source serves all of them.
//!
//! A kernel is a type that implements `Kernel`: its fields are the arguments, its body is written once
//! over `Simd`. `Isa::run` enters the body inside a function compiled for the instruction set, so the
//! whole loop nest, inlined into that function, uses its vectors:
//!
//! ```text
//! struct AddRelu<'a> { x: &'a [f32], y: &'a mut [f32] }
//! impl Kernel for AddRelu<'_> {
//!     type Output = ();
//!     #[inline(always)]                       // this and everything it calls with `simd`
//!     fn run<S: Simd>(self, simd: S) {
//!         for (x, y) in self.x.chunks(S::LANES).zip(self.y.chunks_mut(S::LANES)) {
//!             let sum = simd.add(simd.load_part(x), simd.load_part(y));
//!             simd.store_part(simd.relu(sum), y);
//!         }
//!     }
//! }
//! isa.run(AddRelu { x, y });
//! ```
//!
//! Rules for kernel bodies: no closures around vector code (a closure is a function of its own and loses
//! the instruction set), arrays of arrays of vectors by index (iterators that take them copy them through memory), every helper
//! `#[inline(always)]`, threads outside and not inside a kernel.
//!
//! An [`Isa`] is a proof: it is made only after the CPU was asked.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_bytes;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bytes;
mod flush;
mod memory;
mod plain;
mod plain_bytes;
mod simd;
mod square;
#[cfg(target_arch = "x86_64")]
mod vnni;

#[cfg(target_arch = "x86_64")]
use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use avx512::Avx512;
pub(crate) use bytes::{ByteKernel, Bytes, FloatsOf};
pub(crate) use flush::FlushToZero;
pub use flush::set_flush_to_zero;
pub(crate) use memory::{Sink, Source};
use plain::Plain;
pub(crate) use simd::{Kernel, Simd};
pub(crate) use square::Square;
#[cfg(target_arch = "x86_64")]
use vnni::Vnni;

/// Lanes of the widest vectors.
pub(crate) const MOST_LANES: usize = 16;

/// Name of the environment variable that forces an instruction set.
pub const ISA_VARIABLE: &str = "RESIDUUM_ISA";

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Set {
    Plain(Plain),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

/// What kernels on bytes are compiled for.
enum ByteSet {
    Plain(Plain),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Vnni(Vnni),
}

/// An instruction set that this CPU has. Results are the same bits for the same instruction set.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Set);

/// Why an instruction set that was asked for by name is not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IsaError {
    /// The name is none of ours.
    #[error("RESIDUUM_ISA: expected plain, avx2 or avx512, found {found:?}; correct it or unset it")]
    Unknown {
        /// The name as given.
        found: String,
    },
    /// The name is known, and this CPU does not have the instruction set.
    #[error("RESIDUUM_ISA: this CPU does not have {wanted}; available: {available}; choose one or unset it")]
    Unavailable {
        /// The name as given.
        wanted: String,
        /// What this CPU has, separated by commas.
        available: String,
    },
}

impl Isa {
    /// Portable code, available everywhere.
    pub const PLAIN: Self = Self(Set::Plain(Plain));

    /// All that this CPU has, the best first; [`Isa::PLAIN`] is always the last.
    pub fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            sets.extend(Avx512::detect().map(|proof| Self(Set::Avx512(proof))));
            sets.extend(Avx2::detect().map(|proof| Self(Set::Avx2(proof))));
        }
        sets.push(Self::PLAIN);
        sets
    }

    /// The best that this CPU has.
    pub fn detect() -> Self {
        Self::available()[0]
    }

    /// The one that the environment variable `RESIDUUM_ISA` names, or else the best that this CPU has.
    ///
    /// # Errors
    /// When the variable holds an unknown name, or an instruction set that this CPU does not have.
    pub fn from_env() -> Result<Self, IsaError> {
        match std::env::var_os(ISA_VARIABLE) {
            None => Ok(Self::detect()),
            Some(value) if value.is_empty() => Ok(Self::detect()),
            Some(value) => Self::from_name(&value.to_string_lossy()),
        }
    }

    /// The instruction set called `plain`, `avx2` or `avx512`.
    ///
    /// # Errors
    /// When the name is unknown, or this CPU does not have the instruction set.
    pub fn from_name(name: &str) -> Result<Self, IsaError> {
        let available = Self::available();
        if let Some(isa) = available.iter().find(|isa| isa.name() == name) {
            return Ok(*isa);
        }
        if !["avx2", "avx512"].contains(&name) {
            return Err(IsaError::Unknown { found: name.to_owned() });
        }
        let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
        Err(IsaError::Unavailable { wanted: name.to_owned(), available: names.join(", ") })
    }

    /// `plain`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Plain(_) => "plain",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(_) => "avx512",
        }
    }

    /// Floats in a vector.
    pub fn lanes(self) -> usize {
        match self.0 {
            Set::Plain(_) => Plain::LANES,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(_) => Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(_) => Avx512::LANES,
        }
    }

    /// Runs a kernel, compiled for this instruction set.
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Set::Plain(simd) => kernel.run(simd),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(simd) => simd.enter(kernel),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(simd) => simd.enter(kernel),
        }
    }

    /// Runs a kernel on bytes, compiled for this instruction set. AVX-512 without VNNI does as AVX2, which every
    /// such CPU has.
    pub(crate) fn run_bytes<K: ByteKernel>(self, kernel: K) -> K::Output {
        match self.byte_set() {
            ByteSet::Plain(bytes) => kernel.run(bytes),
            #[cfg(target_arch = "x86_64")]
            ByteSet::Avx2(bytes) => bytes.enter_bytes(kernel),
            #[cfg(target_arch = "x86_64")]
            ByteSet::Vnni(bytes) => bytes.enter_bytes(kernel),
        }
    }

    /// Integers in a vector of the kernels on bytes, and whether there are thirty-two registers.
    pub(crate) fn byte_lanes(self) -> (usize, bool) {
        match self.byte_set() {
            ByteSet::Plain(_) => (Plain::LANES, false),
            #[cfg(target_arch = "x86_64")]
            ByteSet::Avx2(_) => (Avx2::LANES, false),
            #[cfg(target_arch = "x86_64")]
            ByteSet::Vnni(_) => (Avx512::LANES, true),
        }
    }

    fn byte_set(self) -> ByteSet {
        match self.0 {
            Set::Plain(plain) => ByteSet::Plain(plain),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(avx2) => ByteSet::Avx2(avx2),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(avx512) => match (Vnni::detect(avx512), Avx2::detect()) {
                (Some(vnni), _) => ByteSet::Vnni(vnni),
                (None, Some(avx2)) => ByteSet::Avx2(avx2),
                (None, None) => ByteSet::Plain(Plain),
            },
        }
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Debug for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Isa({})", self.name())
    }
}

#[cfg(test)]
mod tests;
