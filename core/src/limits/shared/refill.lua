#!lua
-- Takes in advance what buckets have, up to what is wanted of each.
--
-- KEYS: the buckets. ARGV: for each, the ticks in which it fills, for how many more it does (which do not count here), the
-- ticks that are wanted, and those of which only multiples are of use.
-- Returns the time and, for each bucket, the ticks taken and its state after that. All as in take.lua.
local time = redis.call('TIME')
local now = math.max(0, ((time[1] - 1767225600) * 1000000 + time[2]) * 16)
local reply = {now}
for i, key in ipairs(KEYS) do
    local room, rest = tonumber(ARGV[4 * i - 3]), tonumber(ARGV[4 * i - 2])
    local want, unit = tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i])
    local full_at = tonumber(redis.pcall('GET', key) or 0) or 0
    local before = math.max(now, math.min(full_at, now + room))
    local available = now + room - before
    local given = math.min(want, available - available % unit)
    local after = before + given
    if given > 0 then
        local expiry = math.ceil((after + rest - now) / 16000) + 1
        redis.call('SET', key, string.format('%.0f', after), 'PX', string.format('%.0f', expiry))
    end
    reply[2 * i], reply[2 * i + 1] = given, after
end
return reply
