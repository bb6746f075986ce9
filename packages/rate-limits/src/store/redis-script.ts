/** A Lua script, and what all scripts of this plugin begin with. */
import { createHash } from 'node:crypto'

/** A script, and the digest under which Redis caches it. */
export interface Script {
  readonly source: string
  readonly sha: string
}

/** Makes a script that begins with the common part. */
export function script(body: string): Script {
  const source = COMMON + body
  return { source, sha: createHash('sha1').update(source).digest('hex') }
}

/** ARGV[1] is the time of an injected clock in µs, or -1. */
const COMMON = `
local now = tonumber(ARGV[1])
if now < 0 then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
local at = 1
local function arg() at = at + 1 return tonumber(ARGV[at]) end
local function unpacked(raw)
  if not raw then return { 0, 0, 0 } end
  local ok, state = pcall(cmsgpack.unpack, raw)
  if ok and type(state) == 'table' and type(state[3]) == 'number' then return state end
  return { 0, 0, 0 }
end
-- A state is { blocked until, refusals, refused since }, then for GCRA one time per bound, and for exact
-- windows pairs of time and units, oldest first.
local function save(key, state, exact, longest)
  local last = state[1]
  if state[2] > 0 then last = math.max(last, state[3] + longest) end
  if exact then
    if #state > 3 then last = math.max(last, state[#state - 1] + longest) end
  else
    for i = 4, #state do last = math.max(last, state[i]) end
  end
  local ttl = math.ceil((last - now) / 1000)
  if ttl < 1 then redis.call('DEL', key)
  else redis.call('SET', key, cmsgpack.pack(state), 'PX', string.format('%.0f', ttl)) end
end
`
