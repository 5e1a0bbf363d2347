//! Values that are large and come and go often: each in a place of its own on the heap, which the next one takes over.
//!
//! Owns: places that are free. Never: allocates once there are as many as are in use at a time; a value is dropped in its
//! place, which is free after that.

use std::any::Any;
use std::cell::{OnceCell, RefCell};
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Free places beyond this are given back.
const SPARE_MAX: usize = 1024;

/// The same for futures, which are larger.
const FUTURES_SPARE_MAX: usize = 256;

type Place<T> = Box<Option<T>>;

/// A thread's free places for one kind of value.
pub(crate) struct Spare<T>(RefCell<Vec<Place<T>>>);

impl<T> Default for Spare<T> {
    fn default() -> Spare<T> {
        Spare(RefCell::default())
    }
}

impl<T> Spare<T> {
    /// Puts what `make` makes into a place: in line, where it is made right there rather than copied to it.
    #[inline(always)]
    pub(super) fn keep(self: &Rc<Self>, make: impl FnOnce() -> T) -> Recycled<T> {
        let free = self.0.borrow_mut().pop();
        let mut place = free.unwrap_or_default();
        *place = Some(make());
        Recycled {
            place: Some(place),
            spare: self.clone(),
        }
    }

    fn take_back(&self, place: Place<T>) {
        let mut free = self.0.borrow_mut();
        if free.len() < SPARE_MAX {
            free.push(place);
        }
    }
}

/// A value in its place. It moves as a pointer does.
pub(crate) struct Recycled<T> {
    /// Gone with the value.
    place: Option<Place<T>>,
    spare: Rc<Spare<T>>,
}

impl<T> Recycled<T> {
    /// The value, out of its place.
    pub(super) fn into_inner(mut self) -> T {
        let value = self.place.as_mut().and_then(|place| place.take());
        value.expect("it is taken once")
    }
}

impl<T> Drop for Recycled<T> {
    fn drop(&mut self) {
        if let Some(mut place) = self.place.take() {
            // Where it is.
            *place = None;
            self.spare.take_back(place);
        }
    }
}

impl<T> Deref for Recycled<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        let value = self.place.as_deref().and_then(Option::as_ref);
        value.expect("it is there until it is taken")
    }
}

impl<T> DerefMut for Recycled<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        let value = self.place.as_deref_mut().and_then(Option::as_mut);
        value.expect("it is there until it is taken")
    }
}

/// A task's future, in its place.
pub(super) type TaskFuture = Pin<Box<dyn Placed>>;

/// A place with a future, or with one that is over.
pub(super) trait Placed {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>;

    /// Drops the future. Its place goes back to `places`, if they are of its kind.
    fn vacate(self: Pin<Box<Self>>, places: &FuturePlaces);
}

impl<F: Future<Output = ()> + 'static> Placed for Option<F> {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let future = self.as_pin_mut();
        future.expect("it is there until it is dropped").poll(cx)
    }

    fn vacate(mut self: Pin<Box<Self>>, places: &FuturePlaces) {
        self.set(None);
        if let Some(free) = places.of_kind::<F>() {
            let mut free = free.0.borrow_mut();
            if free.len() < FUTURES_SPARE_MAX {
                free.push(self);
            }
        }
    }
}

/// A thread's free places for futures of one type, which need not be named: the first to be kept decides.
#[derive(Default)]
pub(crate) struct FuturePlaces(OnceCell<Box<dyn Any>>);

impl FuturePlaces {
    /// Puts the future that `make` makes into a place, in line as above. It does not move from there.
    ///
    /// # Panics
    /// If it is of another type than those before.
    #[inline(always)]
    pub(super) fn keep<F: Future<Output = ()> + 'static>(
        &self,
        make: impl FnOnce() -> F,
    ) -> TaskFuture {
        let first = || Box::new(FreePlaces::<F>::default()) as Box<dyn Any>;
        let free = self.0.get_or_init(first).downcast_ref::<FreePlaces<F>>();
        let free = free.expect("they are of one type");
        let unused = free.0.borrow_mut().pop();
        let mut place = unused.unwrap_or_else(|| Box::pin(None));
        place.set(Some(make()));
        place
    }

    fn of_kind<F: 'static>(&self) -> Option<&FreePlaces<F>> {
        self.0.get()?.downcast_ref()
    }
}

type FuturePlace<F> = Pin<Box<Option<F>>>;

struct FreePlaces<F>(RefCell<Vec<FuturePlace<F>>>);

impl<F> Default for FreePlaces<F> {
    fn default() -> FreePlaces<F> {
        FreePlaces(RefCell::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_place_is_used_again() {
        let spare = Rc::<Spare<String>>::default();
        let mut first = spare.keep(|| "a".into());
        first.push('b');
        assert_eq!(*first, "ab");
        let place: *const String = &*first;
        assert_eq!(first.into_inner(), "ab");
        let second = spare.keep(|| "c".into());
        assert_eq!(std::ptr::from_ref(&*second), place);
        let third = spare.keep(|| "d".into());
        drop((second, third));
        assert_eq!(spare.0.borrow().len(), 2);
    }

    #[test]
    fn a_value_may_hold_the_places() {
        struct Holds(#[expect(dead_code)] Rc<Spare<Holds>>);
        let spare = Rc::<Spare<Holds>>::default();
        drop(spare.keep(|| Holds(spare.clone())));
        assert_eq!(Rc::strong_count(&spare), 1);
    }

    #[test]
    fn futures_come_and_go_in_the_same_place() {
        struct Counted(Rc<Cell<u32>>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        async fn work(held: Counted, at: Rc<Cell<usize>>) {
            at.set(std::ptr::from_ref(&held) as usize);
            std::future::pending::<()>().await;
        }
        let (places, dropped) = (FuturePlaces::default(), Rc::new(Cell::new(0)));
        let at = [(); 2].map(|()| {
            let at = Rc::new(Cell::new(0));
            let mut one = places.keep(|| work(Counted(dropped.clone()), at.clone()));
            let mut cx = Context::from_waker(std::task::Waker::noop());
            assert!(one.as_mut().poll(&mut cx).is_pending());
            one.vacate(&places);
            at.get()
        });
        assert_eq!((at[0], dropped.get()), (at[1], 2));
    }
}
