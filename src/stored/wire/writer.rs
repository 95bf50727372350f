//! The payload of an entry, written part by part. Times are rounded to the older side.

use std::time::Duration;

use super::{MAX_FIELDS, Unencodable, bit};
use crate::key::CacheKey;
use crate::policy::Freshness;
use crate::stored::{StoredResponse, Variants, WallMap};
use crate::tag::{MAX_TAG_BYTES, MAX_TAGS};

/// Writes a payload; all numbers have their highest byte first.
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    /// The beginning of every payload.
    pub(super) fn new(key: &CacheKey, since: u64) -> Self {
        let mut writer = Self(key.sha256().to_vec());
        writer.number(since);
        writer
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_be_bytes());
    }

    fn moment(&mut self, moment: Option<Duration>, map: &WallMap) {
        self.0.extend_from_slice(&moment.map_or(0, |moment| map.to_wall(moment)).to_be_bytes());
    }

    /// A number of two bytes.
    fn count(&mut self, count: usize) -> Result<(), Unencodable> {
        let count =
            u16::try_from(count).map_err(|_| Unencodable::Unfit("too many parts, or too long ones"))?;
        self.0.extend_from_slice(&count.to_be_bytes());
        Ok(())
    }

    /// Bytes, with their length in two bytes before them.
    fn short(&mut self, bytes: &[u8]) -> Result<(), Unencodable> {
        self.count(bytes.len())?;
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    /// Bytes, with their length in four bytes before them.
    fn long(&mut self, bytes: &[u8]) -> Result<(), Unencodable> {
        let length = u32::try_from(bytes.len()).map_err(|_| Unencodable::TooLarge)?;
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn response(&mut self, response: &StoredResponse, map: &WallMap) -> Result<(), Unencodable> {
        let (headers, tags) = (response.all_fields(), response.tags());
        if headers.len() > MAX_FIELDS
            || tags.len() > MAX_TAGS
            || tags.iter().any(|tag| tag.len() > MAX_TAG_BYTES)
        {
            return Err(Unencodable::Unfit("too many fields or tags, or too long ones"));
        }
        let values: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 6).sum();
        let tag_bytes: usize = tags.iter().map(|tag| tag.len() + 2).sum();
        self.0.reserve_exact(128 + values + tag_bytes + response.body.len());
        self.0.extend_from_slice(&response.status.as_u16().to_be_bytes());
        self.freshness(&response.freshness(), map);
        self.number(response.stored_wall_ms());
        self.count(tags.len())?;
        tags.iter().try_for_each(|tag| self.short(tag.as_bytes()))?;
        self.count(headers.len())?;
        for (name, value) in &headers {
            self.short(name.as_str().as_bytes())?;
            self.long(value.as_bytes())?;
        }
        self.long(&response.body)
    }

    fn freshness(&mut self, freshness: &Freshness, map: &WallMap) {
        let flags = [
            (freshness.must_revalidate, bit::MUST_REVALIDATE),
            (freshness.no_cache, bit::NO_CACHE),
            (freshness.immutable, bit::IMMUTABLE),
            (freshness.lifetime.is_some(), bit::LIFETIME),
            (freshness.ends.is_some(), bit::ENDS),
        ];
        self.0.push(flags.iter().filter(|(set, _)| *set).map(|(_, bit)| *bit).sum());
        self.moment(Some(freshness.received), map);
        // An age is rounded up, all other times down.
        let rest = u128::from(!freshness.initial_age.subsec_nanos().is_multiple_of(1_000_000));
        self.span(freshness.initial_age.as_millis() + rest);
        self.span(freshness.lifetime.unwrap_or_default().as_millis());
        self.moment(freshness.ends, map);
        self.span(freshness.stale_while_revalidate.as_millis());
        self.span(freshness.stale_if_error.as_millis());
    }

    fn span(&mut self, millis: u128) {
        self.number(u64::try_from(millis).unwrap_or(u64::MAX));
    }

    pub(super) fn variants(
        &mut self,
        variants: &Variants,
        key: &CacheKey,
        map: &WallMap,
    ) -> Result<(), Unencodable> {
        self.0.push(u8::from(variants.until.is_some()));
        self.moment(variants.until, map);
        self.count(variants.fields.len())?;
        variants.fields.iter().try_for_each(|field| self.short(field.as_str().as_bytes()))?;
        self.count(variants.members.len())?;
        for member in &variants.members {
            if !member.place.is_variant_of(key) {
                return Err(Unencodable::Unfit("a variant of another key"));
            }
            self.long(member.place.as_bytes())?;
            self.number(member.ticket);
            self.0.push(u8::from(member.language.is_some()));
            self.short(member.language.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }
}
