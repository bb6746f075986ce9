/** The sinks, by name. */
import { fileSink } from './file.ts'
import { elasticsearchSink, otlpSink, webhookSink } from './http.ts'
import { pinoSink } from './logger.ts'
import { syslogSink } from './syslog.ts'

/** Where the log can be sent; each makes one entry of the option `sinks`. */
export const sinks = Object.freeze({
  pino: pinoSink,
  file: fileSink,
  elasticsearch: elasticsearchSink,
  syslog: syslogSink,
  otlp: otlpSink,
  webhook: webhookSink,
})
