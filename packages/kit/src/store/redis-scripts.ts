/**
 * The Lua scripts of the Redis store. Each touches only the one key it is given, so all are safe on
 * Redis Cluster, and each loop is bounded by the caller's limits.
 */
import { createHash } from 'node:crypto'

/** A script and the digest under which Redis caches it. */
export interface RedisScript {
  readonly source: string
  readonly sha: string
}

function script(source: string): RedisScript {
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}

/** ARGV[1] is the time of an injected clock, or -1 for the server's own: one clock for the fleet. */
const NOW = `
local now = tonumber(ARGV[1])
if now < 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local function int(n) return string.format('%.0f', n) end
`

/** ARGV: expected or '' behind '-' (absent) or '=' (text), next likewise, TTL in ms. */
export const COMPARE_AND_SET = script(`
local found = redis.call('GET', KEYS[1])
if (found and '=' .. found or '-') ~= ARGV[1] then return 0 end
if ARGV[2] == '-' then redis.call('DEL', KEYS[1])
else redis.call('SET', KEYS[1], string.sub(ARGV[2], 2), 'PX', ARGV[3]) end
return 1`)

/**
 * ARGV: now, amount, most windows a key may have, then length and limit (-1: none) of each window.
 * The formulas are those of `rollBuckets` and `weigh`.
 */
export const COUNT = script(`${NOW}
local key, amount, counted, reply, last = KEYS[1], tonumber(ARGV[2]), 1, { 0, int(now) }, 0
local rows = {}
for i = 4, #ARGV, 2 do
  local window, limit = tonumber(ARGV[i]), tonumber(ARGV[i + 1])
  local bucket, current, previous = math.floor(now / window), 0, 0
  local raw = redis.call('HGET', key, ARGV[i])
  if raw then
    local b, c, p = string.match(raw, '^(%d+):(%d+):(%d+)$')
    b = tonumber(b)
    if b >= bucket then bucket, current, previous = b, tonumber(c), tonumber(p)
    elseif b == bucket - 1 then previous = tonumber(c) end
  end
  local left = window - math.max(0, now - bucket * window)
  local weight = math.ceil(previous * left / window) + current
  if limit >= 0 and weight + amount > limit then counted = 0 end
  last = math.max(last, window)
  rows[#rows + 1] = { ARGV[i], raw, bucket, current, previous }
end
if counted == 1 and amount > 0 then
  local fresh = 0
  for _, row in ipairs(rows) do
    row[4] = row[4] + amount
    if not row[2] then fresh = fresh + 1 end
  end
  if fresh > 0 and redis.call('HLEN', key) + fresh > tonumber(ARGV[3]) then
    return redis.error_reply('ERR a counter holds at most ' .. ARGV[3] .. ' windows')
  end
  for _, row in ipairs(rows) do
    redis.call('HSET', key, row[1], int(row[3]) .. ':' .. int(row[4]) .. ':' .. int(row[5]))
  end
  if redis.call('PTTL', key) < 2 * last then redis.call('PEXPIRE', key, int(2 * last)) end
end
reply[1] = counted
for _, row in ipairs(rows) do
  for i = 3, 5 do reply[#reply + 1] = int(row[i]) end
end
return reply`)

/** ARGV: now, window in ms, most entries, value. Entries are '<time>:<value>'. */
export const APPEND = script(`${NOW}
local key, window = KEYS[1], tonumber(ARGV[2])
local function time_of(entry) return tonumber(string.match(entry, '^%d+')) end
local last = redis.call('LINDEX', key, -1)
if last then now = math.max(now, time_of(last)) end
redis.call('RPUSH', key, int(now) .. ':' .. ARGV[4])
redis.call('LTRIM', key, '-' .. ARGV[3], -1)
while time_of(redis.call('LINDEX', key, 0)) <= now - window do redis.call('LPOP', key) end
redis.call('PEXPIRE', key, ARGV[2])
return redis.call('LLEN', key)`)

/** ARGV: now. Returns the time, then the entries. */
export const TIMELINE = script(`${NOW}
local reply = redis.call('LRANGE', KEYS[1], 0, -1)
table.insert(reply, 1, int(now))
return reply`)

/** The first step of each script on a set. */
const PURGE = `${NOW}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', int(now))`

/** ARGV: now, TTL in ms, most members, member. Returns whether it is new, and the size. */
export const ADD_MEMBER = script(`${PURGE}
local key, expiry, added = KEYS[1], now + tonumber(ARGV[2]), 0
if not redis.call('ZSCORE', key, ARGV[4]) then
  added = 1
  local surplus = redis.call('ZCARD', key) + 1 - tonumber(ARGV[3])
  if surplus > 0 then redis.call('ZPOPMIN', key, surplus) end
end
redis.call('ZADD', key, int(expiry), ARGV[4])
local latest = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]
redis.call('PEXPIRE', key, int(tonumber(latest) - now))
return { added, redis.call('ZCARD', key) }`)

/** ARGV: now, member. */
export const REMOVE_MEMBER = script(`${PURGE}
return redis.call('ZREM', KEYS[1], ARGV[2])`)

/** ARGV: now, member. */
export const HAS_MEMBER = script(`${NOW}
local expiry = redis.call('ZSCORE', KEYS[1], ARGV[2])
return expiry and tonumber(expiry) > now and 1 or 0`)

/** ARGV: now. */
export const MEMBERS = script(`${NOW}
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. int(now), '+inf')`)

/** ARGV: channel, message, TTL of the number in ms. Numbers the messages of a channel: a gap means a lost message. */
export const PUBLISH = script(`
local number = redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', ARGV[1], string.format('%.0f', number) .. ':' .. ARGV[2])
return number`)
