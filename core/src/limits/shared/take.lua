#!lua
-- Takes from all buckets, or from none.
--
-- KEYS: the buckets. ARGV: for each, the ticks in which it fills, for how many more it does (a bucket from which is taken
-- in advance is smaller, but for those who take after a rest), those in which the cost flows in, and 1 if it only counts.
-- Returns 1 or 0 (taken or not), the time, and the state of each bucket: after the taking, or as it is. A bucket that only
-- counts and does not allow it is left alone, and its state is returned negative.
-- A tick is a sixteenth of a microsecond, counted from 2026: all numbers are whole and below 2^53, exact in a double.
local time = redis.call('TIME')
local now = math.max(0, ((time[1] - 1767225600) * 1000000 + time[2]) * 16)
local before, after, taken = {}, {}, 1
for i, key in ipairs(KEYS) do
    local room, slack = tonumber(ARGV[4 * i - 3]), tonumber(ARGV[4 * i - 2])
    local cost, shadow = tonumber(ARGV[4 * i - 1]), ARGV[4 * i] == '1'
    -- What is no number was not written by us, and is written over.
    local full_at = tonumber(redis.pcall('GET', key) or 0) or 0
    -- No bucket is emptier than empty; one that seems to be was written before the clock stepped back.
    before[i] = math.max(now - slack, math.min(full_at, now + room))
    after[i] = before[i] + cost
    if after[i] - room > now then
        after[i] = nil
        if not shadow then taken = 0 end
    end
end
if taken == 0 then return {taken, now, unpack(before)} end
for i, key in ipairs(KEYS) do
    if after[i] then
        -- Never gone before it is full: a missing bucket counts as a full one.
        local expiry = math.ceil((after[i] + ARGV[4 * i - 2] - now) / 16000) + 1
        redis.call('SET', key, string.format('%.0f', after[i]), 'PX', string.format('%.0f', expiry))
        before[i] = after[i]
    else
        before[i] = -before[i]
    end
end
return {taken, now, unpack(before)}
