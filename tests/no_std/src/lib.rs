//! Links the core without the standard library; see `Cargo.toml`.
#![no_std]
use core::alloc::{GlobalAlloc, Layout};

struct Nowhere;

// SAFETY: an allocator that always refuses keeps every promise of the trait.
unsafe impl GlobalAlloc for Nowhere {
    unsafe fn alloc(&self, _layout: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _ptr: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Nowhere = Nowhere;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Something of the core, so that it is linked.
#[unsafe(no_mangle)]
pub extern "C" fn drover_core_is_linked(number: u64) -> u64 {
    drover_core::rng::mix(number)
}
