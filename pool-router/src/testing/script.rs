//! What fake clients do: random scripts, made before the session begins.

use pgwire_core::encode;
use pgwire_core::frontend::Target;

use super::fake_pg::ZONES;
use super::rng::Rng;
use super::session::{self, Op, STATE, ZONE};

/// Something that a client sends and waits for (or not, if it pipelines).
#[derive(Debug, Default)]
pub(super) struct Unit {
    /// The bytes, in parts that are sent one after the other.
    pub(super) parts: Vec<Vec<u8>>,
    /// What they ask for.
    pub(super) ops: Vec<Op>,
    /// Sent when the server asks for copy data.
    pub(super) copy_data: Option<Vec<u8>>,
    /// Nothing is sent behind it before it is answered.
    pub(super) alone: bool,
    /// It is cancelled a little later.
    pub(super) cancel: bool,
}

/// What a client is capable of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits {
    pub(super) units: usize,
    /// It may use `DISCARD ALL`.
    pub(super) discards: bool,
    /// It may set what no server reports.
    pub(super) state: bool,
    pub(super) cancels: bool,
    /// It sends statements and rows that are longer than a buffer.
    pub(super) long: bool,
    /// Its transactions may keep to one snapshot.
    pub(super) snapshots: bool,
}

/// Writes scripts.
#[derive(Debug)]
pub(super) struct Author {
    rng: Rng,
    client: usize,
    next: u32,
    traits: Traits,
    names: Vec<(String, bool)>,
}

impl Author {
    pub(super) fn new(client: usize, rng: Rng, traits: Traits) -> Self {
        Self { rng, client, next: 0, traits, names: Vec::new() }
    }

    fn nonce(&mut self) -> String {
        self.next += 1;
        let mut nonce = format!("c{}-{}", self.client, self.next);
        if self.traits.long && self.rng.chance(60) {
            nonce.push('-');
            let length = 1_000 + self.rng.below(40_000);
            nonce.extend(std::iter::repeat_n('x', length));
        }
        nonce
    }

    pub(super) fn write(mut self) -> Vec<Unit> {
        let mut units = Vec::new();
        while units.len() < self.traits.units {
            match self.rng.below(20) {
                0..=3 => {
                    let sql = self.statement(false);
                    units.push(simple(&sql));
                }
                4 => {
                    let sql = self.statement(true);
                    units.push(simple(&sql));
                }
                5 => {
                    let several: Vec<String> = (0..1 + self.rng.below(3))
                        .map(|_| {
                            let write = self.rng.chance(400);
                            self.statement(write)
                        })
                        .collect();
                    units.push(simple(&several.join("; ")));
                }
                6 | 7 => {
                    let zone = self.rng.pick(&ZONES);
                    units.push(simple(&format!("SET {ZONE} TO '{zone}'")));
                }
                8 if self.traits.state => {
                    let nonce = self.nonce();
                    units.push(simple(&format!("SET {STATE} TO '{nonce}'")));
                }
                9 if self.traits.discards => {
                    units.push(simple("DISCARD ALL"));
                    self.names.clear();
                }
                10 => units.push(self.copy()),
                11..=13 => self.transaction(&mut units),
                14 if self.traits.cancels => {
                    let nonce = self.nonce();
                    let mut unit = simple(&format!("SELECT slow('{nonce}')"));
                    unit.cancel = self.rng.chance(700);
                    units.push(unit);
                }
                15 => units.push(simple("")),
                _ => units.push(self.batch()),
            }
        }
        units
    }

    fn statement(&mut self, write: bool) -> String {
        let nonce = self.nonce();
        if self.rng.chance(60) {
            format!("SELECT fail('{nonce}')")
        } else if write {
            format!("INSERT INTO t VALUES ('{nonce}')")
        } else {
            format!("SELECT '{nonce}'")
        }
    }

    fn transaction(&mut self, units: &mut Vec<Unit>) {
        let nonce = self.nonce();
        let modes = self.rng.pick(&[
            "",
            "",
            "",
            " READ ONLY",
            " READ WRITE",
            " ISOLATION LEVEL REPEATABLE READ",
            " ISOLATION LEVEL REPEATABLE READ READ ONLY",
        ]);
        // A statement that is too long to be remembered stays on the one server that such a
        // transaction is on.
        let modes = if self.traits.snapshots { modes } else { "" };
        units.push(simple(&format!("BEGIN{modes} /* {nonce} */")));
        let mut savepoints = 0;
        for _ in 0..self.rng.below(6) {
            let unit = match self.rng.below(9) {
                6 => {
                    savepoints += 1;
                    simple(&format!("SAVEPOINT p{savepoints}"))
                }
                7 | 8 if savepoints > 0 => {
                    let name = 1 + self.rng.below(savepoints);
                    simple(&format!("ROLLBACK TO p{name}"))
                }
                0 => self.batch(),
                1 => {
                    let zone = self.rng.pick(&ZONES);
                    simple(&format!("SET {ZONE} TO '{zone}'"))
                }
                2 => self.copy(),
                other => {
                    let sql = self.statement(other == 3);
                    simple(&sql)
                }
            };
            units.push(unit);
        }
        units.push(simple(if self.rng.chance(700) { "COMMIT" } else { "ROLLBACK" }));
    }

    fn copy(&mut self) -> Unit {
        let nonce = self.nonce();
        let rows: Vec<String> = (0..self.rng.below(4)).map(|_| self.nonce()).collect();
        let fails = self.rng.chance(200);
        let mut unit = simple(&format!("COPY t FROM STDIN /* {nonce} */"));
        let mut data = Vec::new();
        for row in &rows {
            let line = format!("{row}\n");
            data.push(b'd');
            let length = u32::try_from(line.len() + 4).unwrap_or(0);
            data.extend_from_slice(&length.to_be_bytes());
            data.extend_from_slice(line.as_bytes());
        }
        if fails {
            encode::copy_fail(&mut data, b"changed my mind");
        } else {
            data.extend_from_slice(&[b'c', 0, 0, 0, 4]);
        }
        unit.ops.insert(1, Op::CopyEnd((!fails).then_some(rows)));
        if self.rng.chance(300) {
            unit.parts.push(data);
        } else {
            unit.copy_data = Some(data);
            unit.alone = true;
        }
        unit
    }

    /// A batch of extended-protocol messages up to its Sync.
    fn batch(&mut self) -> Unit {
        let mut unit = Unit::default();
        let mut part = Vec::new();
        for _ in 0..1 + self.rng.below(4) {
            self.extended(&mut part);
            if self.rng.chance(150) {
                encode::flush(&mut part);
                if self.rng.chance(500) {
                    unit.parts.push(std::mem::take(&mut part));
                }
            }
        }
        encode::sync(&mut part);
        unit.parts.push(part);
        let mut all = unit.parts.concat();
        while let Some(frame) = super::fake_pg::take_frame(&mut all) {
            unit.ops.extend(session::ops(&frame));
        }
        unit
    }

    /// One statement by the extended protocol: prepared here, before, or never.
    fn extended(&mut self, out: &mut Vec<u8>) {
        let write = self.rng.chance(300);
        let template = if write { "INSERT INTO t VALUES ($1)" } else { "SELECT $1" };
        let nonce = self.nonce();
        let name = match self.rng.below(10) {
            0..=2 if !self.names.is_empty() => {
                let (name, _) = self.names[self.rng.below(self.names.len())].clone();
                if self.rng.chance(100) {
                    encode::close_statement(out, name.as_bytes());
                    self.names.retain(|(known, _)| *known != name);
                    return;
                }
                name
            }
            3 | 4 => {
                let name = format!("s{}", self.rng.below(5));
                if !self.names.iter().any(|(known, _)| *known == name) || self.rng.chance(50) {
                    encode::parse(out, name.as_bytes(), template.as_bytes(), &[]);
                    self.names.push((name.clone(), write));
                }
                name
            }
            // The unnamed statement of before, which may be gone.
            5 => String::new(),
            6 => {
                // Only a read: it may be run again by whoever binds the unnamed statement next.
                let sql = self.statement(false);
                encode::parse(out, b"", sql.as_bytes(), &[]);
                String::new()
            }
            _ => {
                encode::parse(out, b"", template.as_bytes(), &[]);
                String::new()
            }
        };
        if self.rng.chance(200) {
            encode::describe(out, Target::Statement, name.as_bytes());
        }
        session::bind(out, &name, &nonce);
        if self.rng.chance(400) {
            encode::describe(out, Target::Portal, b"");
        }
        encode::execute(out, b"", 0);
    }
}

/// A simple query.
pub(super) fn simple(sql: &str) -> Unit {
    let mut bytes = Vec::new();
    encode::query(&mut bytes, sql.as_bytes());
    Unit { ops: session::ops(&bytes), parts: vec![bytes], ..Unit::default() }
}
