/** The issuer and the audience of the tokens in the tests. */
export const issuer = 'https://api.example.com'
export const audience = 'example-api'
