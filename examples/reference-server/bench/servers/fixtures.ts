/** What the servers of the benchmark and the benchmark share. */

/** The RBAC model of casbin's own documentation. */
export const usualModel = `[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && r.obj == p.obj && r.act == p.act
`
export const usualPolicy = 'p, reader, orders, read'

/** The query of a page of artists, as the reference server sends it. */
export const ARTIST_PAGE = {
  text: `SELECT id::text AS id, version,
    to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "createdAt",
    to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "updatedAt",
    name AS "name", genres AS "genres", hourly_rate_minor AS "hourlyRateMinor", currency AS "currency",
    bio AS "bio", available AS "available", phone AS "phone", platforms AS "platforms"
    FROM artists WHERE id > $1 AND TRUE ORDER BY id LIMIT $2`,
  values: ['00000000-0000-0000-0000-000000000000', 21],
} as const
