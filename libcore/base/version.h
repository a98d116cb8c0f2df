/* version - the version of the programs. Layer 0; uses nothing. */
#ifndef DPO_VERSION_H
#define DPO_VERSION_H

#define DPO_VERSION_TEXT "0.1.0"

#endif
