/**
 * Every error of this package; each constant is named as its code. The first sentence of a docblock
 * and the text behind "Fix:" are printed in the generated reference page.
 */
import { createError } from '@fastify/error'

/** An option is unknown, mistyped or out of range. Fix: Correct each option that the message lists. */
export const PARAPET_POSTURE_INVALID_OPTION = createError<[plugin: string, faults: string]>(
  'PARAPET_POSTURE_INVALID_OPTION',
  'Invalid options for %s:\n%s',
)

/**
 * The file that was given exports no app, plugin or factory, and creates no app. Fix: Export a
 * Fastify plugin as default, an app, or a function that returns one.
 */
export const PARAPET_POSTURE_NO_APP = createError<[entry: string, reason: string]>(
  'PARAPET_POSTURE_NO_APP',
  'No Fastify app was found in %s: %s',
)

/**
 * The app is not ready in time: a plugin waits for something, or a factory never returns. Fix: Start what the
 * app waits for, or give it a stand-in.
 */
export const PARAPET_POSTURE_NOT_READY = createError<[entry: string, seconds: number]>(
  'PARAPET_POSTURE_NOT_READY',
  '%s was not ready within %d s',
)

/**
 * The routes of the app cannot be listed, because its version of Fastify keeps them otherwise. Fix:
 * Use Fastify 5, or check the running app by its address.
 */
export const PARAPET_POSTURE_UNREADABLE = createError<[version: string]>(
  'PARAPET_POSTURE_UNREADABLE',
  'The routes of this app cannot be listed (Fastify %s): Fastify 5 is supported',
)

/** A baseline file is no JSON, or not of this format. Fix: Write it anew with `--update-baseline`. */
export const PARAPET_POSTURE_INVALID_BASELINE = createError<[path: string, reason: string]>(
  'PARAPET_POSTURE_INVALID_BASELINE',
  'The baseline %s is invalid: %s',
)

/** The address does not answer. Fix: Start the app, and check the address. */
export const PARAPET_POSTURE_UNREACHABLE = createError<[address: string]>(
  'PARAPET_POSTURE_UNREACHABLE',
  'There is no answer from %s',
)
