//! Lowers the deployments of a call into a guest's memory.
//!
//! Wasmtime's derived code looks up the guest's memory for each field of each record: a fifth of the
//! instructions of a request with eight deployments, a third with 32. The type here looks it up once
//! for each list, and is what `#[derive(Lower)]` makes of a list of [`types::Deployment`] in all else.
//! The in-process tests compare the answers of the built strategies with those of the same strategies
//! without a component, for random numbers in all fields.

use std::mem::MaybeUninit;

use wasmtime::ValRaw;
use wasmtime::component::__internal::{
    CanonicalAbiInfo, InstanceType, InterfaceType, LowerContext,
};
use wasmtime::component::{ComponentType, Lower};

use contract::{Candidate, CandidateState};

use super::generated::hybrid::routing::types;

/// Bytes of one record.
const ROW: usize = <types::Deployment as ComponentType>::SIZE32;
const ALIGN: u32 = <types::Deployment as ComponentType>::ALIGN32;

const _: () = assert!(ROW == 56 && ALIGN == 8, "`row` is for another record");

/// A `list<deployment>` of these candidates.
pub(super) struct Rows<'a>(pub(super) &'a [Candidate<'a>]);

impl Rows<'_> {
    /// Returns the address of the list in the guest's memory, and its length.
    fn store<T>(&self, cx: &mut LowerContext<'_, T>) -> wasmtime::Result<(u32, u32)> {
        let size = self.0.len().saturating_mul(ROW);
        let address = cx.realloc(0, 0, ALIGN, size)?;
        // `realloc` has checked that the guest's memory has these bytes.
        let memory = &mut cx.as_slice_mut()[address..][..size];
        for (row, candidate) in memory.as_chunks_mut().0.iter_mut().zip(self.0) {
            *row = self::row(candidate);
        }
        Ok((u32::try_from(address)?, u32::try_from(self.0.len())?))
    }
}

/// A `deployment` as the canonical ABI lays it out: each field at a multiple of its size.
fn row(candidate: &Candidate<'_>) -> [u8; ROW] {
    let condition = match candidate.state {
        CandidateState::Healthy => types::Condition::Healthy,
        CandidateState::SlowStart => types::Condition::SlowStart,
        CandidateState::HalfOpen => types::Condition::HalfOpen,
        CandidateState::Stalled => types::Condition::Stalled,
    };
    let counts = [candidate.id, candidate.in_flight, candidate.queued, candidate.limit];
    let rates = [
        candidate.latency.unwrap_or(f64::NAN),
        candidate.duration.unwrap_or(f64::NAN),
        candidate.error_rate,
        candidate.refused_rate,
    ];
    let mut row = [0; ROW];
    let (counted, rest) = row.split_at_mut(16);
    for (field, count) in counted.as_chunks_mut().0.iter_mut().zip(counts) {
        *field = count.to_le_bytes();
    }
    let (state, rated) = rest.split_at_mut(8);
    state[0] = condition as u8;
    for (field, rate) in rated.as_chunks_mut().0.iter_mut().zip(rates) {
        *field = rate.to_le_bytes();
    }
    row
}

// SAFETY: the layout and the check are those of the list that it stands for.
#[allow(unsafe_code, reason = "Wasmtime has no other way to lower a type")]
unsafe impl ComponentType for Rows<'_> {
    type Lower = <[types::Deployment] as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = <[types::Deployment] as ComponentType>::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> wasmtime::Result<()> {
        <[types::Deployment] as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: a lowered list is an address and a length, and both functions write all of both.
#[allow(unsafe_code, reason = "Wasmtime has no other way to lower a type")]
unsafe impl Lower for Rows<'_> {
    fn linear_lower_to_flat<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        _: InterfaceType,
        dst: &mut MaybeUninit<Self::Lower>,
    ) -> wasmtime::Result<()> {
        let (address, length) = self.store(cx)?;
        dst.write([ValRaw::i64(address.into()), ValRaw::i64(length.into())]);
        Ok(())
    }

    fn linear_lower_to_memory<T>(
        &self,
        cx: &mut LowerContext<'_, T>,
        _: InterfaceType,
        offset: usize,
    ) -> wasmtime::Result<()> {
        let (address, length) = self.store(cx)?;
        *cx.get(offset) = address.to_le_bytes();
        *cx.get(offset + 4) = length.to_le_bytes();
        Ok(())
    }
}
