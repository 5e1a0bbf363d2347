//! Values that are large and come and go often: each in a place of its own on the heap, which the next one takes over.
//!
//! Owns: places that are free. Never: allocates once there are as many as are in use at a time.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// Free places beyond this are given back.
const SPARE_MAX: usize = 1024;

type Place<T> = Box<Option<T>>;

/// A thread's free places for one kind of value.
pub(crate) struct Spare<T>(RefCell<Vec<Place<T>>>);

impl<T> Default for Spare<T> {
    fn default() -> Spare<T> {
        Spare(RefCell::default())
    }
}

impl<T> Spare<T> {
    /// Puts `value` into a place.
    pub(super) fn keep(self: &Rc<Self>, value: T) -> Recycled<T> {
        let free = self.0.borrow_mut().pop();
        let mut place = free.unwrap_or_default();
        *place = Some(value);
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
        self.take().expect("it is taken once")
    }

    fn take(&mut self) -> Option<T> {
        let mut place = self.place.take()?;
        let value = place.take();
        self.spare.take_back(place);
        value
    }
}

impl<T> Drop for Recycled<T> {
    fn drop(&mut self) {
        // After its place was given back: it may want one itself.
        drop(self.take());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_used_again() {
        let spare = Rc::<Spare<String>>::default();
        let mut first = spare.keep("a".into());
        first.push('b');
        assert_eq!(*first, "ab");
        let place: *const String = &*first;
        assert_eq!(first.into_inner(), "ab");
        let second = spare.keep("c".into());
        assert_eq!(std::ptr::from_ref(&*second), place);
        let third = spare.keep("d".into());
        drop((second, third));
        assert_eq!(spare.0.borrow().len(), 2);
    }

    #[test]
    fn a_value_may_hold_the_places() {
        struct Holds(#[expect(dead_code)] Rc<Spare<Holds>>);
        let spare = Rc::<Spare<Holds>>::default();
        drop(spare.keep(Holds(spare.clone())));
        assert_eq!(Rc::strong_count(&spare), 1);
    }
}
