/**
 * The one script that decides on Redis: all releases, renewals and claims of a batch, one atomic step each.
 *
 * What is stored under a key is a string of JSON that can be read in redis-cli; its first fields stand in a fixed
 * order, so that "is it this lease's?" is a comparison of prefixes. Any other value counts as held, by a foreigner.
 * Nothing newer than Redis 6.2 is used. Time is the server's, and stands still within a script.
 */
export const EXCHANGE_LUA = `
-- KEYS      one a step: of the releases, then of the renewals, then of the claims; more are padding
-- ARGV[1-3] how many releases, renewals and claims
-- then      one a step, in lines: an argument costs the client more than a line costs the server.
--           (Token and owner are strings of JSON, and so have no line breaks.)
--           of each release: ms to keep the key as done (0: let go), token
--           of each renewal: ttl in ms, token
--           of each claim:   ttl in ms, attempt, token, owner
-- returns   one answer a step. Release, renewal: 1 done, 0 not held under this token.
--           Claim: its fence if taken, the negative fence if taken over from its own owner,
--           { 'held' | 'foreign', value, ms left } if not.
--           Any step: { 'error', message } if Redis could not take it.
local releases, renewals, claims = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local k = 0
local answers = {}

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local since = string.format('%.0f', math.floor(now / 1000))
local nowText = string.format('%.0f', now)
-- Time stands still here: a key that is let go and taken in one batch needs a fence above the one it had.
local fenceAfter = {}

local function prefix(state, token)
  return '{"once":1,"state":"' .. state .. '","token":' .. token .. ','
end

local function failed(reply)
  return type(reply) == 'table' and reply.err and { 'error', reply.err }
end

-- The key and the argument of the next step.
local function nextStep()
  k = k + 1
  return KEYS[k], ARGV[k + 3]
end

-- What is stored, or false; a value of another type reads as an empty text. Second, what kept Redis from reading.
local function read(key)
  local stored = redis.pcall('GET', key)
  if type(stored) ~= 'table' then return stored end
  if string.sub(stored.err, 1, 9) == 'WRONGTYPE' then return '' end
  return false, failed(stored)
end

-- What is stored if it is the lease's own, else false.
local function own(key, token)
  local stored, failure = read(key)
  if failure then return false, failure end
  local mine = prefix('running', token)
  return stored and string.sub(stored, 1, #mine) == mine and stored
end

-- Owners are compared as they are written, in JSON, behind the field's name: a quote in them is escaped.
local function endsWithOwner(stored, owner)
  local ending = ',"owner":' .. owner .. '}'
  return string.sub(stored, -#ending) == ending
end

-- The record in a stored text, or nil where no lock wrote it.
local function recordIn(stored)
  if string.sub(stored, 1, 10) ~= '{"once":1,' then return nil end
  local known, record = pcall(cjson.decode, stored)
  if known and type(record.fence) == 'number' and type(record.attempt) == 'number' then return record end
end

for _ = 1, releases do
  local key, step = nextStep()
  local keepFor, token = string.match(step, '^(%d+)\\n(.*)$')
  local stored, failure = own(key, token)
  local answer = failure or 0
  if stored then
    if keepFor == '0' then
      if claims > 0 then fenceAfter[key] = string.match(stored, '"fence":(%d+)') + 1 end
      answer = failed(redis.pcall('DEL', key)) or 1
    else
      local rest = string.sub(stored, #prefix('running', token) + 1)
      answer = failed(redis.pcall('SET', key, prefix('done', token) .. rest, 'PX', keepFor)) or 1
    end
  end
  answers[k] = answer
end

for _ = 1, renewals do
  local key, step = nextStep()
  local ttl, token = string.match(step, '^(%d+)\\n(.*)$')
  local stored, failure = own(key, token)
  answers[k] = failure or stored and (failed(redis.pcall('PEXPIRE', key, ttl)) or 1) or 0
end

for _ = 1, claims do
  local key, step = nextStep()
  local ttl, attempt, token, owner = string.match(step, '^(%d+)\\n(%d+)\\n([^\\n]*)\\n(.*)$')

  local function record(fenceText)
    return prefix('running', token) .. '"fence":' .. fenceText .. ',"attempt":' .. attempt
      .. ',"since":' .. since .. ',"owner":' .. owner .. '}'
  end

  local fence, fenceText = now, nowText
  if fenceAfter[key] and fenceAfter[key] > now then
    fence = fenceAfter[key]
    fenceText = string.format('%.0f', fence)
  end
  local set = redis.pcall('SET', key, record(fenceText), 'NX', 'PX', ttl)
  if failed(set) then
    answers[k] = failed(set)
  elseif set then
    answers[k] = fence
  else
    local stored, failure = read(key)
    local holder = not failure and recordIn(stored)
    if failure then
      answers[k] = failure
    elseif not holder then
      answers[k] = { 'foreign', string.sub(stored, 1, 100), redis.call('PTTL', key) }
    elseif own(key, token) then
      -- The same claim, sent again because its answer got lost.
      answers[k] = failed(redis.pcall('PEXPIRE', key, ttl)) or holder.fence
    elseif holder.state == 'running' and endsWithOwner(stored, owner)
      and holder.attempt <= tonumber(attempt) then
      fence = math.max(now, holder.fence + 1)
      answers[k] = failed(redis.pcall('SET', key, record(string.format('%.0f', fence)), 'PX', ttl)) or -fence
    else
      answers[k] = { 'held', stored, redis.call('PTTL', key) }
    end
  end
end

return answers
`;

/** Tells what is stored under a key, and for how long. */
export const INSPECT_LUA = `
-- KEYS     the keys to look at; more than ARGV[1] are padding
-- ARGV[1]  how many
-- returns  for each: { value, ms left (-1: for ever) }, or 0 where nothing is stored
local answers = {}
for i = 1, tonumber(ARGV[1]) do
  local stored = redis.pcall('GET', KEYS[i])
  if type(stored) == 'table' then
    if string.sub(stored.err, 1, 9) ~= 'WRONGTYPE' then return stored end
    stored = ''
  end
  answers[i] = stored and { stored, redis.call('PTTL', KEYS[i]) } or 0
end
return answers
`;
