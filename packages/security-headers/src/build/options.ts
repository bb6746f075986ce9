/** The option `build`. */
import { option, optionGroup, type OptionReader } from '@parapet/kit'

/** The output of a bundler, for the preset `spa`. */
export interface BuildOptions {
  /** The folder with the built pages, scripts and styles. It is read once, at boot. */
  readonly folder: string
  /** The URL path that the folder is served at, as in Vite's option `base`. @default '/' */
  readonly base?: string
}

/** The option `build` with every default filled in. */
export type BuildSettings = Required<BuildOptions>

/** Reads the option `build`. */
export const buildReader: OptionReader<BuildSettings> = optionGroup({
  folder: option.text({ max: 4096 }),
  base: option.text({
    pattern: /^\/(?:[\w.~-]+\/)*$/,
    form: 'a path with a slash at both ends, such as "/app/"',
    default: '/',
  }),
})
