//! The functions that the WebAssembly module exports. `web/lab/engine.ts` says what each does.
//!
//! No code here is unsafe. What needs leave is `#[unsafe(no_mangle)]`: an exported name could replace a function of the same name
//! in another library that is linked with this one. A WebAssembly module has no other library, and every name begins with `lab_`.
//!
//! The page writes its input into memory that [`lab_alloc`] gave it, and the module reads it there: an input is one of the
//! buffers that are lent at the moment, found by its address, never a pointer that is trusted. So a wrong address or length is
//! refused like any other bad input. Lending exposes the buffer's address, so the compiler takes into account that its
//! content changes between two calls.
//!
//! A module has one thread, so state that belongs to the thread is state of the module.

use std::cell::RefCell;

use crate::Lab;
use crate::lab::Output;

/// Version of this interface.
const VERSION: u32 = 1;

/// Most bytes of one input.
const MOST_INPUT: usize = 64 << 20;

thread_local! {
    static LAB: RefCell<Lab> = RefCell::new(Lab::new());
    /// Buffers lent to the page.
    static LENT: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
    /// What a panic said, for the page to show: after one the module is lost.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

fn lab<T>(call: impl FnOnce(&mut Lab) -> T) -> T {
    LAB.with_borrow_mut(call)
}

/// The input at an address; empty where nothing of this length is lent there.
fn input<T>(at: usize, length: usize, call: impl FnOnce(&[u8]) -> T) -> T {
    LENT.with_borrow(|lent| {
        let buffer = lent.iter().find(|buffer| buffer.as_ptr().addr() == at);
        call(buffer.and_then(|buffer| buffer.get(..length)).unwrap_or_default())
    })
}

/// The version of the interface. Call it first: it also prepares messages of panics.
#[unsafe(no_mangle)]
pub extern "C" fn lab_abi() -> u32 {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.to_string();
        PANIC.with(|said| {
            if let Ok(mut said) = said.try_borrow_mut() {
                *said = Some(text);
            }
        });
    }));
    VERSION
}

/// Lends a buffer for an input; 0 if it is too long.
#[unsafe(no_mangle)]
pub extern "C" fn lab_alloc(length: usize) -> usize {
    if length > MOST_INPUT {
        return 0;
    }
    // Without content a buffer has no address of its own.
    let mut buffer = vec![0; length.max(1)].into_boxed_slice();
    let at = buffer.as_mut_ptr().expose_provenance();
    LENT.with_borrow_mut(|lent| lent.push(buffer));
    at
}

/// Takes a buffer back.
#[unsafe(no_mangle)]
pub extern "C" fn lab_free(at: usize, _length: usize) {
    LENT.with_borrow_mut(|lent| lent.retain(|buffer| buffer.as_ptr().addr() != at));
}

/// Address of the last answer.
#[unsafe(no_mangle)]
pub extern "C" fn lab_output() -> usize {
    lab(|lab| match lab.output() {
        Output::Json(text) => text.as_ptr().expose_provenance(),
        Output::Numbers(numbers) => numbers.as_ptr().expose_provenance(),
    })
}

/// Length of the last answer, bytes.
#[unsafe(no_mangle)]
pub extern "C" fn lab_output_len() -> usize {
    lab(|lab| lab.text().len() + size_of_val(lab.numbers()))
}

/// Address of what a panic said; 0 without one.
#[unsafe(no_mangle)]
pub extern "C" fn lab_panic() -> usize {
    PANIC.with_borrow(|said| said.as_ref().map_or(0, |text| text.as_ptr().expose_provenance()))
}

/// Length of what a panic said, bytes.
#[unsafe(no_mangle)]
pub extern "C" fn lab_panic_len() -> usize {
    PANIC.with_borrow(|said| said.as_ref().map_or(0, String::len))
}

/// [`Lab::call`]: 0 accepted, 1 refused.
#[unsafe(no_mangle)]
pub extern "C" fn lab_call(at: usize, length: usize) -> u32 {
    input(at, length, |request| lab(|lab| refused(lab.call(request))))
}

/// [`Lab::open`].
#[unsafe(no_mangle)]
pub extern "C" fn lab_open(at: usize, length: usize) -> u32 {
    input(at, length, |request| lab(|lab| lab.open(request)))
}

/// [`Lab::close`].
#[unsafe(no_mangle)]
pub extern "C" fn lab_close(handle: u32) {
    lab(|lab| lab.close(handle));
}

/// [`Lab::step`]: 0 goes on, 1 over, 2 failed.
#[unsafe(no_mangle)]
pub extern "C" fn lab_step(handle: u32) -> u32 {
    lab(|lab| lab.step(handle) as u32)
}

/// [`Lab::step_until`]: as [`lab_step`].
#[unsafe(no_mangle)]
pub extern "C" fn lab_step_until(handle: u32, nanoseconds: f64) -> u32 {
    lab(|lab| lab.step_until(handle, nanoseconds) as u32)
}

/// [`Lab::act`]: 0 accepted, 1 refused.
#[unsafe(no_mangle)]
pub extern "C" fn lab_act(handle: u32, at: usize, length: usize) -> u32 {
    input(at, length, |act| lab(|lab| refused(lab.act(handle, act))))
}

/// [`Lab::trace`]: 0 nothing, 1 events and decisions, 2 events.
#[unsafe(no_mangle)]
pub extern "C" fn lab_trace(handle: u32, on: u32) {
    lab(|lab| lab.trace(handle, on != 0, on == 1));
}

/// [`Lab::why`]: 0 accepted, 1 refused.
#[unsafe(no_mangle)]
pub extern "C" fn lab_why(handle: u32, job: i32) -> u32 {
    lab(|lab| refused(lab.why(handle, job)))
}

/// [`Lab::frame`].
#[unsafe(no_mangle)]
pub extern "C" fn lab_frame(handle: u32) {
    lab(|lab| lab.frame(handle));
}

/// [`Lab::events`].
#[unsafe(no_mangle)]
pub extern "C" fn lab_events(handle: u32) {
    lab(|lab| lab.events(handle));
}

/// [`Lab::metrics`]: 0 accepted, 1 refused.
#[unsafe(no_mangle)]
pub extern "C" fn lab_metrics(handle: u32) -> u32 {
    lab(|lab| refused(lab.metrics(handle)))
}

/// [`Lab::record`]: 0 accepted, 1 refused.
#[unsafe(no_mangle)]
pub extern "C" fn lab_record(handle: u32) -> u32 {
    lab(|lab| refused(lab.record(handle)))
}

fn refused(accepted: bool) -> u32 {
    u32::from(!accepted)
}
