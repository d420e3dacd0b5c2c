//! Which pages were written to, as the kernel knows: pages are write-protected through a
//! userfaultfd in its asynchronous mode (the kernel lifts the protection at the first
//! write and goes on; nobody is asked), and `PAGEMAP_SCAN` reads which are not protected
//! any more, and protects them again in the same step. Linux 6.7 and later.
//!
//! The descriptors are made once, by [`PageWatch::open`], before the process is
//! hardened: afterwards the system call is refused. They are of user mode only, are not
//! inherited by programs that are started, and are never read: no fault waits for us.
//! Where the kernel or a container refuses them, memories are compared with copies.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    sync::Arc,
};

use super::{PAGE, PAGE_BYTES};

/// Tells which pages of memories were written to.
#[derive(Debug)]
pub struct PageWatch {
    faults: OwnedFd,
    pages: File,
}

impl PageWatch {
    /// Asks the kernel for it.
    ///
    /// # Errors
    /// As the kernel says: it is too old, or this process may not.
    pub fn open() -> io::Result<Arc<Self>> {
        // SAFETY: no pointer is passed; the result is looked at before it is used.
        #[expect(unsafe_code, reason = "a system call that no library here has")]
        let faults = unsafe {
            if libc::sysconf(libc::_SC_PAGESIZE) != libc::c_long::from(PAGE_BYTES) {
                return Err(io::Error::other("pages of the machine are not of 4 KiB"));
            }
            let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | USER_MODE_ONLY;
            let raw = libc::syscall(libc::SYS_userfaultfd, flags);
            let raw = i32::try_from(raw).unwrap_or(-1);
            if raw < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(raw)
        };
        let watch = Self { faults, pages: File::open("/proc/self/pagemap")? };
        let mut api = Api { api: API, features: WP_UNPOPULATED | WP_ASYNC, ioctls: 0 };
        watch.control(UFFDIO_API, &mut api)?;
        // A kernel may know the one and not the other.
        let probe = vec![0; 2 * PAGE];
        let mut watched = Watched::start(&Arc::new(watch), &probe)?;
        watched.written(&probe)?;
        Ok(watched.watch.clone())
    }

    fn control<T>(&self, request: u32, argument: &mut T) -> io::Result<()> {
        io_control(self.faults.as_raw_fd(), request, argument).map(drop)
    }
}

/// A memory that is watched. Dropped before the memory is.
#[derive(Debug)]
pub(super) struct Watched {
    watch: Arc<PageWatch>,
    /// The pages that are registered.
    range: Range,
}

impl Watched {
    /// Watches a memory from now on.
    pub(super) fn start(watch: &Arc<PageWatch>, memory: &[u8]) -> io::Result<Self> {
        let at = (memory.as_ptr() as usize).next_multiple_of(PAGE) as u64;
        let mut watched = Self { watch: watch.clone(), range: Range { start: at, len: 0 } };
        watched.extend(memory)?;
        Ok(watched)
    }

    /// How many bytes of the memory are watched.
    pub(super) fn len(&self) -> usize {
        usize::try_from(self.range.len).unwrap_or(usize::MAX)
    }

    /// Numbers of the pages that were written to since the last time, of those that were
    /// watched then; and watches what the memory has grown by.
    pub(super) fn written(&mut self, memory: &[u8]) -> io::Result<Vec<u32>> {
        if self.range.start != (memory.as_ptr() as usize).next_multiple_of(PAGE) as u64 {
            return Err(io::Error::other("a memory has moved"));
        }
        let (mut numbers, end) = (Vec::new(), self.range.start + self.range.len);
        let mut regions = [Region::default(); 256];
        let mut from = self.range.start;
        while from < end {
            let mut scan = Scan {
                size: size_of::<Scan>() as u64,
                flags: SCAN_WP_MATCHING | SCAN_CHECK_WP_ASYNC,
                start: from,
                end,
                vec: regions.as_mut_ptr() as u64,
                vec_len: regions.len() as u64,
                category_mask: IS_WRITTEN,
                return_mask: IS_WRITTEN,
                ..Scan::default()
            };
            let found = io_control(self.watch.pages.as_raw_fd(), PAGEMAP_SCAN, &mut scan)?;
            for region in &regions[..usize::try_from(found).unwrap_or(0)] {
                let page = |at: u64| u32::try_from((at - self.range.start) / PAGE as u64);
                let (Ok(first), Ok(end)) = (page(region.start), page(region.end)) else {
                    return Err(io::Error::other("a page beyond all memory"));
                };
                numbers.extend(first..end);
            }
            from = scan.walk_end;
        }
        self.extend(memory)?;
        Ok(numbers)
    }

    /// Watches what is not watched yet.
    fn extend(&mut self, memory: &[u8]) -> io::Result<()> {
        let end = (memory.as_ptr() as usize + memory.len()) / PAGE * PAGE;
        let known = self.range.start + self.range.len;
        let new = Range { start: known, len: (end as u64).saturating_sub(known) };
        if new.len == 0 {
            return Ok(());
        }
        let mut register = Register { range: new, mode: REGISTER_MODE_WP, ioctls: 0 };
        self.watch.control(UFFDIO_REGISTER, &mut register)?;
        // Registered, so that it is unregistered whatever comes.
        self.range.len += new.len;
        self.watch.control(UFFDIO_WRITEPROTECT, &mut Protect { range: new, mode: PROTECT_WP })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // A page that stayed protected would be taken for one that nobody wrote to when
        // its slot is cleaned for the next tenant.
        if self.range.len > 0
            && let Err(error) = self.watch.control(UFFDIO_UNREGISTER, &mut self.range)
        {
            tracing::error!("a memory is watched on: {error}");
        }
    }
}

fn io_control<T>(descriptor: i32, request: u32, argument: &mut T) -> io::Result<i32> {
    // SAFETY: each request is called with the structure that it is defined with, which is
    // borrowed for the call; those that name ranges of memory only change whether writes
    // to them are noticed, and what a scan writes goes to `regions`, whose length it knows.
    #[expect(unsafe_code, reason = "a system call that no library here has")]
    let result = unsafe { libc::ioctl(descriptor, request.into(), std::ptr::from_mut(argument)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

// From `linux/userfaultfd.h`.
const API: u64 = 0xaa;
const USER_MODE_ONLY: i32 = 1;
const WP_UNPOPULATED: u64 = 1 << 13;
const WP_ASYNC: u64 = 1 << 15;
const REGISTER_MODE_WP: u64 = 1 << 1;
const PROTECT_WP: u64 = 1;
const UFFDIO_API: u32 = 0xc018_aa3f;
const UFFDIO_REGISTER: u32 = 0xc020_aa00;
const UFFDIO_UNREGISTER: u32 = 0x8010_aa01;
const UFFDIO_WRITEPROTECT: u32 = 0xc018_aa06;

// From `linux/fs.h`.
const PAGEMAP_SCAN: u32 = 0xc060_6610;
const SCAN_WP_MATCHING: u64 = 1;
const SCAN_CHECK_WP_ASYNC: u64 = 2;
const IS_WRITTEN: u64 = 2;

#[repr(C)]
struct Api {
    api: u64,
    features: u64,
    ioctls: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Range {
    start: u64,
    len: u64,
}

#[repr(C)]
struct Register {
    range: Range,
    mode: u64,
    ioctls: u64,
}

#[repr(C)]
struct Protect {
    range: Range,
    mode: u64,
}

#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}
const _: () = assert!(size_of::<Scan>() == 96 && size_of::<Register>() == 32);
