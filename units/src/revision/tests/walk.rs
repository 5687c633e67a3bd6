//! Applies, verdicts, rollbacks, reboots, panics and power cuts in any order, over a model of the data disk and of the
//! boot partition: a power cut loses any part of what was written since the last sync, and may come at any write.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Head,
    HeadTemporary,
    Revision(u64),
    RevisionTemporary,
    Image(u64),
    ImageTemporary(u64),
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Head(String),
    Revision(u64),
    /// Tries that are left; none: blessed.
    Image(Option<u32>),
    /// A name whose contents never reached the disk.
    Torn,
}

#[derive(Clone, Debug)]
enum Write {
    Put(Key, Value),
    Rename(Key, Key),
    Remove(Key),
}

/// The power went.
struct Cut;

#[derive(Debug, Default)]
struct Disk {
    durable: BTreeMap<Key, Value>,
    pending: Vec<Write>,
    /// Writes until the power goes.
    left: Option<usize>,
    /// Which of the pending ones survive.
    survive: u64,
}

fn carry_out(files: &mut BTreeMap<Key, Value>, write: &Write) {
    match write {
        Write::Put(key, value) => drop(files.insert(*key, value.clone())),
        Write::Remove(key) => drop(files.remove(key)),
        Write::Rename(from, to) => {
            // The name may reach the disk before what it names.
            let value = files.remove(from).unwrap_or(Value::Torn);
            files.insert(*to, value);
        }
    }
}

impl Disk {
    fn write(&mut self, write: Write) -> Result<(), Cut> {
        self.tick()?;
        self.pending.push(write);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Cut> {
        self.tick()?;
        for write in self.pending.drain(..) {
            carry_out(&mut self.durable, &write);
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Cut> {
        match &mut self.left {
            Some(0) => {
                self.cut();
                Err(Cut)
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn cut(&mut self) {
        for (at, write) in self.pending.drain(..).enumerate() {
            if self.survive >> (at % 64) & 1 == 1 {
                carry_out(&mut self.durable, &write);
            }
        }
        self.left = None;
    }

    fn see(&self) -> BTreeMap<Key, Value> {
        let mut files = self.durable.clone();
        self.pending.iter().for_each(|write| carry_out(&mut files, write));
        files
    }

    fn replace(&mut self, temporary: Key, key: Key, value: Value) -> Result<(), Cut> {
        self.write(Write::Put(temporary, value))?;
        self.sync()?;
        self.write(Write::Rename(temporary, key))?;
        self.sync()
    }

    fn head(&self) -> Head {
        match self.see().get(&Key::Head) {
            Some(Value::Head(text)) => Head::parse(text).unwrap(),
            None => Head::default(),
            torn => panic!("the head is {torn:?}"),
        }
    }

    fn write_head(&mut self, head: &Head) -> Result<(), Cut> {
        self.replace(Key::HeadTemporary, Key::Head, Value::Head(head.print().unwrap()))
    }

    fn count(&mut self, image: u64, tries: Option<u32>) -> Result<(), Cut> {
        self.write(Write::Put(Key::Image(image), Value::Image(tries)))?;
        self.sync()
    }

    fn images(&self) -> BTreeMap<u64, Option<u32>> {
        let image = |(key, value): (&Key, &Value)| match (key, value) {
            (Key::Image(seq), Value::Image(tries)) => Some((*seq, *tries)),
            (Key::Image(seq), other) => panic!("image {seq} is {other:?}"),
            _ => None,
        };
        self.see().iter().filter_map(image).collect()
    }
}

/// What a revision is like; its digest is its contents.
#[derive(Clone, Copy, Debug)]
struct Kind {
    digest: u8,
    is_well: bool,
    image: u64,
}

#[derive(Debug)]
struct Machine {
    disk: Disk,
    kinds: BTreeMap<u64, Kind>,
    /// Whether an OS image comes up.
    boots: BTreeMap<u64, bool>,
    last: LastEnd,
    running: u64,
    image: u64,
    /// Digests whose failure is on the disk.
    failed: BTreeSet<u8>,
}

impl Machine {
    fn new() -> Self {
        let mut disk = Disk::default();
        disk.durable.insert(Key::Image(1), Value::Image(None));
        let slot = Some(Slot { good_seq: 1, trying_seq: None, next_seq: 2 });
        let head = Head { slot, ..Head::default() };
        disk.durable.insert(Key::Head, Value::Head(head.print().unwrap()));
        let factory = Kind { digest: 255, is_well: true, image: 1 };
        Self {
            disk,
            kinds: [(0, factory)].into(),
            boots: [(1, true)].into(),
            last: LastEnd::First,
            running: 0,
            image: 1,
            failed: BTreeSet::new(),
        }
    }

    /// The boot loader: the newest image that has tries left, else the newest of all.
    fn load(&mut self) -> u64 {
        let images = self.disk.images();
        let usable = images.iter().rev().find(|(_, tries)| **tries != Some(0));
        let (seq, tries) = usable.or(images.iter().next_back()).expect("there is an image");
        let (seq, tries) = (*seq, tries.map(|tries| tries.saturating_sub(1)));
        self.disk.durable.insert(Key::Image(seq), Value::Image(tries));
        seq
    }

    /// Boots until a revision runs.
    fn boot(&mut self) {
        let mut tries = 0;
        for _ in 0..100 {
            tries += 1;
            assert!(tries <= 4, "no OS has come up in four tries");
            let image = self.load();
            if !self.boots[&image] {
                self.last = if tries % 2 == 0 { LastEnd::Panic } else { LastEnd::Watchdog };
                continue;
            }
            match self.begin(image) {
                Ok(true) => return self.check(),
                Ok(false) => (self.last, tries) = (LastEnd::Asked, 0),
                Err(Cut) => (self.last, tries) = (LastEnd::Power, 0),
            }
        }
        panic!("it reboots for ever");
    }

    /// Userspace has come up; whether it stays.
    fn begin(&mut self, image: u64) -> Result<bool, Cut> {
        let counter = |tries: Option<u32>| match tries {
            None => Counter::Blessed,
            Some(0) => Counter::Exhausted,
            Some(_) => Counter::Counting,
        };
        let mut images: BTreeMap<_, _> =
            self.disk.images().into_iter().map(|(seq, tries)| (seq, counter(tries))).collect();
        // The last try of what runs is under way.
        if images.get(&image) == Some(&Counter::Exhausted) {
            images.insert(image, Counter::Counting);
        }
        let head = self.disk.head();
        let slots = Slots { images, running: Some(image) };
        let decision = boot_decision(&head, &slots, self.last, "at");
        if decision.head != head {
            self.disk.write_head(&decision.head)?;
        }
        self.remember();
        match decision.slot {
            Some(SlotDeed::Bless(seq)) => self.disk.count(seq, None)?,
            Some(SlotDeed::Rearm(seq)) => self.disk.count(seq, Some(3))?,
            Some(SlotDeed::GiveWay(seq)) => self.disk.count(seq, Some(0))?,
            Some(SlotDeed::Arm(seq)) => self.arm(seq)?,
            Some(SlotDeed::Enter(_)) | None => {}
        }
        self.image = image;
        self.running = match decision.run {
            Run::Revision(revision) => revision,
            Run::Newest => panic!("nobody speaks for image {image}: {head:?}"),
        };
        Ok(!decision.slot.is_some_and(SlotDeed::reboots))
    }

    fn arm(&mut self, seq: u64) -> Result<(), Cut> {
        if self.disk.see().contains_key(&Key::ImageTemporary(seq)) {
            self.disk.write(Write::Rename(Key::ImageTemporary(seq), Key::Image(seq)))?;
            self.disk.sync()?;
        }
        Ok(())
    }

    fn remember(&mut self) {
        let head = self.disk.head();
        self.failed.extend(head.bad.iter().map(|bad| bad.digest.parse::<u8>().unwrap()));
    }

    /// What holds whenever a revision runs.
    fn check(&mut self) {
        let head = self.disk.head();
        let files = self.disk.see();
        for revision in [self.running, head.good].into_iter().filter(|revision| *revision != 0) {
            assert_eq!(files.get(&Key::Revision(revision)), Some(&Value::Revision(revision)), "{head:?}");
        }
        assert!(self.kinds[&head.good].is_well, "{} never was good", head.good);
        assert_eq!(self.kinds[&self.running].image, self.image, "the OS is another one's: {head:?}");
        assert!(self.running == head.good || head.trying == Some(self.running), "{head:?}");
        let digest = self.kinds[&self.running].digest;
        // The same contents may have been good earlier, and panicked when they were tried once more.
        assert!(
            self.running == head.good || !self.failed.contains(&digest),
            "{} has failed before",
            self.running
        );
    }

    fn apply(&mut self, kind: Kind, with_os: Option<bool>) -> Result<(), Cut> {
        let mut head = self.disk.head();
        if head.is_bad(&kind.digest.to_string()).is_some() || self.image != self.kinds[&head.good].image {
            return Ok(());
        }
        let newest = |key: &Key| if let Key::Revision(revision) = key { Some(*revision) } else { None };
        let revision = self.disk.see().keys().filter_map(newest).max().unwrap_or(0).max(head.last) + 1;
        let slot = head.slot.clone().unwrap();
        let image = if with_os.is_some() { slot.next_seq } else { slot.good_seq };
        self.kinds.insert(revision, Kind { image, ..kind });
        self.disk.replace(Key::RevisionTemporary, Key::Revision(revision), Value::Revision(revision))?;
        if let Some(boots) = with_os {
            self.boots.insert(image, boots);
            self.disk.write(Write::Put(Key::ImageTemporary(image), Value::Image(Some(3))))?;
            self.disk.sync()?;
        }
        let digest = kind.digest.to_string();
        head.begin(revision, TrialNote { digest, deadline: 300, ..TrialNote::default() });
        if with_os.is_some() {
            head.slot = Some(Slot { trying_seq: Some(image), next_seq: image + 1, ..slot });
        }
        self.disk.write_head(&head)?;
        if with_os.is_some() {
            self.arm(image)?;
            return self.reboot();
        }
        self.running = revision;
        Ok(())
    }

    /// The units have shown what they are worth.
    fn judge(&mut self) -> Result<(), Cut> {
        let mut head = self.disk.head();
        if head.trying != Some(self.running) {
            return Ok(());
        }
        let image = self.image;
        if self.kinds[&self.running].is_well {
            head.commit();
            self.disk.write_head(&head)?;
            return if self.disk.images()[&image].is_some() { self.disk.count(image, None) } else { Ok(()) };
        }
        head.fail(&Reason::Health(name("web"), "exit code 1".into()), "at");
        self.disk.write_head(&head)?;
        self.remember();
        self.running = head.good;
        if self.kinds[&head.good].image != image {
            self.disk.count(image, Some(0))?;
            return self.reboot();
        }
        Ok(())
    }

    fn roll_back(&mut self) -> Result<(), Cut> {
        let mut head = self.disk.head();
        let Some(revision) = head.one_before().filter(|revision| self.kinds[revision].image == self.image)
        else {
            return Ok(());
        };
        if head.trying.is_none() && !self.failed.contains(&self.kinds[&revision].digest) {
            let digest = self.kinds[&revision].digest.to_string();
            head.begin(revision, TrialNote { digest, deadline: 300, ..TrialNote::default() });
            self.disk.write_head(&head)?;
            self.running = revision;
        }
        Ok(())
    }

    fn clear(&mut self) -> Result<(), Cut> {
        let head = self.disk.head();
        let present = |key: &Key| if let Key::Revision(revision) = key { Some(*revision) } else { None };
        let present = self.disk.see().keys().filter_map(present).collect();
        for revision in removable(&head, &present) {
            self.disk.write(Write::Remove(Key::Revision(revision)))?;
        }
        Ok(())
    }

    /// Everything reaches the disk, and that it was asked for is written down.
    fn reboot(&mut self) -> Result<(), Cut> {
        self.disk.sync()?;
        self.last = LastEnd::Asked;
        self.disk.left = None;
        self.boot();
        Ok(())
    }

    fn go(&mut self, deed: Deed) -> Result<(), Cut> {
        match deed {
            Deed::Apply { digest, is_well, with_os } => {
                // The digest covers the OS.
                let os = with_os.map_or(0, |boots| 40 + 40 * u8::from(boots));
                self.apply(Kind { digest: digest + os, is_well, image: 0 }, with_os)
            }
            Deed::Judge => self.judge(),
            Deed::RollBack => self.roll_back(),
            Deed::Clear => self.clear(),
            Deed::Reboot => self.reboot(),
            Deed::Panic => {
                self.disk.cut();
                self.last = LastEnd::Panic;
                self.boot();
                Ok(())
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Apply { digest: u8, is_well: bool, with_os: Option<bool> },
    Judge,
    RollBack,
    Clear,
    Reboot,
    Panic,
}

fn deed() -> impl Strategy<Value = Deed> {
    // What is well is so whenever it is tried: its digest says so.
    let apply = (0..40_u8, any::<Option<bool>>()).prop_map(|(digest, with_os)| Deed::Apply {
        digest,
        is_well: digest % 3 != 0,
        with_os,
    });
    prop_oneof![
        4 => apply,
        4 => Just(Deed::Judge),
        1 => Just(Deed::RollBack),
        1 => Just(Deed::Clear),
        1 => Just(Deed::Reboot),
        1 => Just(Deed::Panic),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn a_node_comes_back_whatever_happens_to_it(
        deeds in prop::collection::vec((deed(), prop::option::of(0..12_usize), any::<u64>()), 1..30)
    ) {
        let mut machine = Machine::new();
        machine.boot();
        for (deed, left, survive) in deeds {
            machine.disk.left = left;
            machine.disk.survive = survive;
            if machine.go(deed).is_err() {
                machine.last = LastEnd::Power;
                machine.boot();
            }
            machine.disk.left = None;
            machine.check();
        }
        // Left alone with its last trial, it ends in one that is good.
        for _ in 0..3 {
            prop_assert!(machine.go(Deed::Judge).is_ok());
        }
        prop_assert_eq!(machine.disk.head().trying, None);
        prop_assert_eq!(machine.running, machine.disk.head().good);
    }
}
