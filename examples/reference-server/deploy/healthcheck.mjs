/** The health check of the container: exits with 0 if the process answers `/health`. */
const port = process.env['PORT'] ?? '3000'
const signal = AbortSignal.timeout(2000)
try {
  const { ok } = await fetch(`http://127.0.0.1:${port}/health`, { signal })
  process.exitCode = ok ? 0 : 1
} catch {
  process.exitCode = 1
}
