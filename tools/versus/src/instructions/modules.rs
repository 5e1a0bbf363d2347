//! Which file an address belongs to, and which function of it; and what the instruction there is.
//!
//! Owns: a traced process's mappings and symbols. Functions of libraries without symbols go by the names under which the program imports
//! them.

use addr2line::Loader;
use object::{Object, ObjectSymbol, ObjectSymbolTable, RelocationTarget};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// The files whose code a process executes.
pub(super) struct Modules {
    memory: File,
    modules: Vec<Module>,
}

struct Module {
    /// The file's name; in brackets what is none.
    name: String,
    start: u64,
    end: u64,
    /// Where functions begin, in the process.
    functions: BTreeMap<u64, Function>,
    /// `None` of what is no file.
    debug: Option<Loader>,
    is_program: bool,
}

struct Function {
    name: String,
    /// `None`: not known, up to the next one.
    len: Option<u64>,
}

/// A function that an address is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Without the hash that the compiler appends.
    pub(super) function: String,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
}

/// Where an address is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The function as compiled.
    pub(super) symbol: String,
    /// How far into it.
    pub(super) offset: u64,
    /// The functions as written, what was inlined first; empty where nothing is known.
    pub(super) frames: Vec<Frame>,
    /// The file's name.
    pub(super) module: String,
    pub(super) is_program: bool,
}

impl Modules {
    /// Of a process that stands still.
    pub(super) fn of(process: u32) -> Result<Modules, String> {
        let at = |what: &str| format!("/proc/{process}/{what}");
        let failed = |what: &str, why: &dyn std::fmt::Display| format!("cannot read {what}: {why}");
        let maps = fs::read_to_string(at("maps")).map_err(|why| failed("its maps", &why))?;
        let memory = File::open(at("mem")).map_err(|why| failed("its memory", &why))?;
        let program = fs::read_link(at("exe")).map_err(|why| failed("its program", &why))?;
        let mut modules: Vec<Module> = Vec::new();
        for line in maps.lines() {
            let Some((start, end, path)) = mapping(line) else {
                continue;
            };
            match modules.last_mut().filter(|last| last.name == path) {
                Some(last) => last.end = end,
                None => modules.push(Module {
                    name: path.to_owned(),
                    start,
                    end,
                    functions: BTreeMap::new(),
                    debug: None,
                    is_program: program.as_os_str() == path,
                }),
            }
        }
        let mut imported = BTreeMap::new();
        for module in &mut modules {
            if !module.name.starts_with('/') {
                continue;
            }
            let Ok(bytes) = fs::read(&module.name) else {
                continue;
            };
            let Ok(file) = object::File::parse(&*bytes) else {
                continue;
            };
            module.functions = functions(&file, module.start);
            module.debug = Loader::new(&module.name).ok();
            if module.is_program {
                imported = imports(&file, module.start, &memory);
            }
        }
        for (address, name) in imported {
            let into = modules.iter_mut().find(|one| one.has(address));
            let function = Function { name, len: None };
            into.map(|module| module.functions.entry(address).or_insert(function));
        }
        for module in &mut modules {
            let name = module.name.rsplit('/').next().unwrap_or_default();
            module.name = name.to_owned();
        }
        Ok(Modules { memory, modules })
    }

    pub(super) fn place(&self, address: u64) -> Place {
        let Some(module) = self.modules.iter().find(|module| module.has(address)) else {
            return Place {
                symbol: "unknown".to_owned(),
                offset: address,
                frames: Vec::new(),
                module: "unknown".to_owned(),
                is_program: false,
            };
        };
        let function = module.functions.range(..=address).next_back();
        let function = function
            .filter(|(start, function)| function.len.is_none_or(|len| address - *start < len));
        let unnamed = || match module.functions.is_empty() {
            true => module.name.clone(),
            false => format!("{}, unnamed", module.name),
        };
        Place {
            symbol: function.map_or_else(unnamed, |(_, function)| function.name.clone()),
            offset: address - function.map_or(module.start, |(start, _)| *start),
            frames: module.frames(address).unwrap_or_default(),
            module: module.name.clone(),
            is_program: module.is_program,
        }
    }

    /// The bytes of an instruction, and what follows it.
    pub(super) fn bytes_at(&self, address: u64) -> Option<[u8; 16]> {
        let mut bytes = [0; 16];
        self.memory.read_exact_at(&mut bytes, address).ok()?;
        Some(bytes)
    }
}

impl Module {
    fn has(&self, address: u64) -> bool {
        (self.start..self.end).contains(&address)
    }

    fn frames(&self, address: u64) -> Option<Vec<Frame>> {
        let mut found = self
            .debug
            .as_ref()?
            .find_frames(address - self.start)
            .ok()?;
        let mut frames = Vec::new();
        while let Ok(Some(frame)) = found.next() {
            let function = frame.function?;
            frames.push(Frame {
                function: plain(&function.demangle().ok()?),
                file: frame.location.as_ref()?.file.map(str::to_owned),
                line: frame.location.as_ref()?.line,
            });
        }
        Some(frames)
    }
}

/// The first address, the one after the last, and the file's path.
fn mapping(line: &str) -> Option<(u64, u64, &str)> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let path = words.nth(4)?;
    let hex = |address| u64::from_str_radix(address, 16).ok();
    Some((hex(start)?, hex(end)?, path))
}

/// Of a library that was stripped those alone that others may call.
fn functions(file: &object::File<'_>, base: u64) -> BTreeMap<u64, Function> {
    let symbols = file.symbols().chain(file.dynamic_symbols());
    let functions = symbols.filter(|symbol| symbol.is_definition() && symbol.size() > 0);
    let functions = functions.filter_map(|symbol| {
        let name = addr2line::demangle_auto(symbol.name().ok()?.into(), None);
        let function = Function {
            name: plain(&name),
            len: Some(symbol.size()),
        };
        Some((base + symbol.address(), function))
    });
    functions.collect()
}

/// What the program calls of libraries, by where its loader found it.
fn imports(file: &object::File<'_>, base: u64, memory: &File) -> BTreeMap<u64, String> {
    let Some(symbols) = file.dynamic_symbol_table() else {
        return BTreeMap::new();
    };
    let slots = file.dynamic_relocations().into_iter().flatten();
    let imports = slots.filter_map(|(slot, relocation)| {
        let RelocationTarget::Symbol(index) = relocation.target() else {
            return None;
        };
        let name = symbols.symbol_by_index(index).ok()?.name().ok()?;
        let mut address = [0; 8];
        memory.read_exact_at(&mut address, base + slot).ok()?;
        Some((u64::from_le_bytes(address), name.to_owned()))
    });
    imports.collect()
}

/// Without the hash at its end.
fn plain(name: &str) -> String {
    match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            name.to_owned()
        }
        _ => name.to_owned(),
    }
}

/// `syscall`.
pub(super) fn is_system_call(instruction: &[u8; 16]) -> bool {
    instruction.starts_with(&[0x0f, 0x05])
}

/// With a lock prefix, or an exchange with memory, which locks without one.
pub(super) fn is_locked(instruction: &[u8; 16]) -> bool {
    const PREFIXES: [u8; 10] = [0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65];
    let mut bytes = instruction
        .iter()
        .copied()
        .skip_while(|byte| PREFIXES.contains(byte))
        .skip_while(|byte| matches!(byte, 0x40..=0x4f));
    match (bytes.next(), bytes.next()) {
        (Some(0xf0), _) => true,
        (Some(0x86 | 0x87), Some(operands)) => operands < 0xc0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instruction(bytes: &[u8]) -> [u8; 16] {
        let mut all = [0x90; 16];
        all[..bytes.len()].copy_from_slice(bytes);
        all
    }

    #[test]
    fn locked_instructions_are_told_from_others() {
        let lock_xadd = instruction(&[0xf0, 0x48, 0x0f, 0xc1, 0x07]);
        let prefixed = instruction(&[0x66, 0xf0, 0x0f, 0xb1, 0x0f]);
        let xchg_memory = instruction(&[0x48, 0x87, 0x07]);
        let (xchg_registers, mov) = (instruction(&[0x48, 0x87, 0xc1]), instruction(&[0x8b, 0x07]));
        assert!(is_locked(&lock_xadd) && is_locked(&prefixed) && is_locked(&xchg_memory));
        assert!(!is_locked(&xchg_registers) && !is_locked(&mov));
        assert!(is_system_call(&instruction(&[0x0f, 0x05])) && !is_system_call(&mov));
    }

    #[test]
    fn a_hash_is_no_part_of_a_name() {
        assert_eq!(plain("a::b::h0123456789abcdef"), "a::b");
        assert_eq!(plain("a::hash"), "a::hash");
    }

    #[test]
    fn this_process_knows_its_own_functions() {
        let modules = Modules::of(std::process::id()).unwrap();
        let here = Modules::of as fn(u32) -> _ as usize as u64;
        let place = modules.place(here);
        assert!(place.is_program && place.offset == 0, "{place:?}");
        assert!(place.symbol.contains("Modules::of"), "{place:?}");
        assert!(modules.bytes_at(here).is_some());
    }
}
