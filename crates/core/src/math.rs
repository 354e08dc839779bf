//! The only place with transcendental functions. The standard library's `ln`, `exp` and friends come from the platform
//! and differ in the last bit between platforms; those of `libm` are plain arithmetic and give the same bits everywhere,
//! which is what "same seed, same bytes" needs. Clippy bans the others in this crate.

/// e to the `x`.
#[inline]
pub fn exp(x: f64) -> f64 {
    libm::exp(x)
}

/// Natural logarithm.
#[inline]
pub fn ln(x: f64) -> f64 {
    libm::log(x)
}

/// Logarithm to base ten.
#[inline]
pub fn log10(x: f64) -> f64 {
    libm::log10(x)
}

/// `x` to the power `y`.
#[inline]
pub fn pow(x: f64, y: f64) -> f64 {
    libm::pow(x, y)
}

/// Cosine of an angle in radians.
#[inline]
pub fn cos(x: f64) -> f64 {
    libm::cos(x)
}

/// Square root; correctly rounded by IEEE 754, so the same everywhere.
#[inline]
pub fn sqrt(x: f64) -> f64 {
    libm::sqrt(x)
}

/// e to the `x`, less one; exact also where `x` is so small that `exp(x) - 1` has no digits left.
#[inline]
pub fn exp_m1(x: f64) -> f64 {
    libm::expm1(x)
}

/// Natural logarithm of one plus `x`; exact also near zero.
#[inline]
pub fn ln_1p(x: f64) -> f64 {
    libm::log1p(x)
}

/// Logarithm of the gamma function: of the factorial of `x - 1`.
#[inline]
pub fn ln_gamma(x: f64) -> f64 {
    libm::lgamma(x)
}
