// What an image catalog of CloudNativePG has to know of the image. The licenses are those
// of the extension and of libmicrohttpd; the image has all of them, in /licenses.
metadata = {
  name                     = "pool-exhaust"
  sql_name                 = "pool_exhaust"
  image_name               = "pool-exhaust"
  licenses                 = ["PostgreSQL", "LGPL-2.1-or-later"]
  shared_preload_libraries = ["pool_exhaust"]
  postgresql_parameters    = {}
  extension_control_path   = []
  dynamic_library_path     = []
  ld_library_path          = ["/system"]
  bin_path                 = []
  env                      = {}
  auto_update_os_libs      = false
  required_extensions      = []
  create_extension         = true
}
