//! On which core those are whom processes of this core have called lately: without the registry, which all share.

use std::sync::Arc;

use peripatos_abi::Pid;

use super::registry::Registry;
use super::tag::Tag;

/// So many at most, each in the place that its pid says.
const PLACES: usize = 256;

/// See the module. A tag says where its process is, and that it has left.
pub(super) struct Lately(Box<[Option<Arc<Tag>>; PLACES]>);

impl Default for Lately {
    fn default() -> Lately {
        Lately(Box::new([const { None }; PLACES]))
    }
}

impl Lately {
    /// On which core a process is. `None`: on none.
    pub(super) fn core_of(&mut self, registry: &Registry, pid: Pid) -> Option<usize> {
        let place = &mut self.0[pid.number() as usize % PLACES];
        let known = place.as_deref().filter(|tag| tag.pid() == pid).and_then(Tag::core);
        known.or_else(|| {
            *place = registry.tag(pid);
            match place {
                Some(tag) => tag.core(),
                // Device processes have none.
                None => registry.core_of(pid),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The registry is not asked for it, and what the tag says is so.
    #[test]
    fn who_goes_on_is_where_his_tag_says() {
        let (registry, nobodys) = (Registry::default(), Registry::default());
        let mut lately = Lately::default();
        let (here, other) = (Pid::new(1, 5), Pid::new(1 + PLACES as u64, 6));
        registry.enter_devices(other, 3).unwrap();
        assert_eq!(lately.core_of(&registry, here), None);
        let tag = Arc::new(Tag::new(here, 1, None));
        lately.0[1] = Some(Arc::clone(&tag));
        assert_eq!(lately.core_of(&nobodys, here), Some(1));
        tag.move_to(2);
        assert_eq!(lately.core_of(&nobodys, here), Some(2));
        // Another one, in the same place.
        assert_eq!(lately.core_of(&registry, other), Some(3));
        lately.0[1] = Some(Arc::clone(&tag));
        tag.leave();
        assert_eq!(lately.core_of(&registry, here), None);
    }
}
